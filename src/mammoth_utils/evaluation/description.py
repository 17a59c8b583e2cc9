"""The description of an evaluation: which model, asked how, on which problems, under which name."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path

from mammoth_utils import paths, prompts, records
from mammoth_utils.base_models import (
    base_at_revision,
    find_gguf,
    find_model,
    is_adapter,
    is_gguf,
    require_same_base,
    require_weights,
    weight_files,
)
from mammoth_utils.evaluation import benchmarks as sets
from mammoth_utils.evaluation import own_benchmarks
from mammoth_utils.evaluation.engines.endpoint import is_endpoint
from mammoth_utils.evaluation.engines.servers import ENGINES
from mammoth_utils.paths import public_name
from mammoth_utils.records import Record
from mammoth_utils.scales import METHODS, MIXTURES, Scale, released, scale
from mammoth_utils.vocabulary import DECODINGS, KINDS, MINI, STORED, UNTUNED, RunName, check_known, evaluation_name

# The longest true rationale of the miniature has about 175 tokens; the real limit is the runner's README command.
NEW_TOKENS = {"miniature": 200, "real": 1500}


@dataclass(frozen=True)
class Evaluation:
    """One evaluation, checked and resolved by ``describe_evaluation``, whose arguments its fields are but for these.

    Attributes:
        world: Of the benchmarks: ``"miniature"``, ``"real"`` or ``"own"``.
        size: With ``family``, ``mixture`` and ``seed`` empty where ``model`` was given.
        model: What is loaded: a folder, a hub name or an endpoint.
        adapter: Folder of an adapter merged into it, or empty.
        decoding: The way that ``benchmarks`` of the record are scored by; ``STORED`` for a completions file.
        benchmarks: Names, in the paper's order.
        own: What is known of those that the reader brought along.
    """

    name: str
    world: str
    size: str = ""
    family: str = ""
    mixture: str = ""
    method: str = ""
    seed: int = 0
    model: str = ""
    adapter: str = ""
    base: str = ""
    decoding: str = "hybrid"
    also: tuple[str, ...] = ()
    benchmarks: tuple[str, ...] = ()
    split: str = "test"
    limit: int = 0
    completions: str = ""
    max_new_tokens: int = 0
    own: tuple[sets.Benchmark, ...] = ()
    prompt: str = prompts.MAMMOTH
    shots: int = prompts.MAX_SHOTS
    engine: str = "auto"

    @property
    def styles(self) -> tuple[str, ...]:
        """The prompt styles that ``prompt`` names."""
        return prompts.parse_styles(self.prompt)

    @property
    def folder(self) -> Path:
        """The folder of the run's files."""
        return paths.run_dir("evaluate", self.name)

    @property
    def dequantise(self) -> bool:
        """Whether the adapter was trained on the 4-bit base."""
        return bool(self.adapter) and self.method == "qlora"

    def benchmark(self, name: str) -> sets.Benchmark:
        """Return what is known of one of the benchmarks."""
        return next((own for own in self.own if own.name == name), None) or sets.info(name)

    def as_dict(self) -> Record:
        """Return the description as JSON holds it, without this machine's folders outside the project."""
        shown = {key: public_name(getattr(self, key)) for key in ("model", "adapter", "base", "completions")}
        lists = {"also": list(self.also), "benchmarks": list(self.benchmarks)}
        values = {**dataclasses.asdict(self), **shown, **lists}
        values["own"] = [{"file": public_name(own.file), "graded_as": own.rules} for own in self.own]
        # What is not chosen is no part of a description, so that one of before it could be chosen is the same.
        usual = {"own": [], "prompt": prompts.MAMMOTH, "shots": prompts.MAX_SHOTS, "engine": "auto"}
        return {key: value for key, value in values.items() if key not in usual or value != usual[key]}


@dataclass(frozen=True)
class FoundModel:
    """A model that an evaluation loads: a name for its runs, where it lies, and how it was trained.

    Attributes:
        world: ``"miniature"`` or ``"real"``; empty where nothing says it, as of a server.
    """

    name: str
    model: str
    adapter: str = ""
    base: str = ""
    method: str = ""
    world: str = ""


def describe_evaluation(
    size: str = "1m",
    family: str = "auto",
    mixture: str = "hybrid",
    method: str = "auto",
    seed: int = 0,
    model: str = "",
    decoding: str = "hybrid",
    benchmarks: str = "all",
    split: str = "test",
    limit: int = 0,
    completions: str = "",
    name: str = "",
    also: tuple[str, ...] | str = "auto",
    max_new_tokens: int = 0,
    graded_as: str = "",
    prompt: str = prompts.MAMMOTH,
    shots: int = prompts.MAX_SHOTS,
    engine: str = "auto",
) -> Evaluation:
    """Return the resolved description of an evaluation; nothing is loaded for it.

    Args:
        size: Scale of the model that ``train`` left.
        family: Its family; ``"auto"`` as in ``scales.scale``.
        mixture: What it was trained on; ``"none"`` evaluates the untuned base.
        method: How; ``"auto"`` takes the one run of full, LoRA or QLoRA that there is.
        model: A folder, a run of ``train``, an adapter's folder, a hub name, a short name of ``scales.RELEASED``, a
            GGUF file or an endpoint in place of all the above. Unless it is the miniature's, ``benchmarks="all"`` then
            means the real nine.
        decoding: ``"hybrid"``, ``"paper"``, ``"cot"`` or ``"pot"``; a prompt of one kind is decoded as that kind.
        benchmarks: ``"all"``, names joined by commas, or files of the reader's own (``own_benchmarks``).
        split: ``"test"``, or ``"dev"`` of the miniature.
        limit: Problems a benchmark at most; 0 for all.
        completions: A stored completions file to grade in place of decoding.
        name: Of the run; empty for one that follows from the rest.
        also: Further decodings scored from the same completions, as names or as text with commas; ``"auto"`` takes CoT
            and PoT alone beside the miniature's hybrid decoding, where they cost a second, and nothing elsewhere.
        max_new_tokens: Most tokens of a completion; 0 for the world's own limit.
        graded_as: The benchmark whose grading rules apply to the reader's own; empty as ``read_benchmark`` says.
        prompt: One of ``prompts.STYLES``, or two joined by ``+``, one for programs and one for prose.
        shots: Examples in a few-shot prompt, 0 to 8.
        engine: One of ``servers.ENGINES``.

    Raises:
        ValueError: If a value is unknown, naming the choices.
        FileNotFoundError: If the model or the file is not there, naming the command that makes it.
    """
    check_known("decoding", decoding, DECODINGS)
    check_known("engine", engine, ENGINES)
    if completions:
        return _completions_file(completions, benchmarks, name)
    decoding = _decoding_of(prompt, decoding)
    _check_shots(prompt, shots)
    own = _own_benchmarks(benchmarks, graded_as)
    if model:
        found, trained = find_given(model), {}
        # A benchmark that is named says the world; else the model does, and never the default size.
        by_name = benchmarks.strip() != "all" and not own
        mini = benchmarks.strip().startswith(MINI) if by_name else found.world == "miniature"
        if found.world == "miniature" and not scale(size, family).miniature:
            raise ValueError(f"{model} is a model of the miniature, and size={size} is not; leave size away")
    else:
        mini = scale(size, family).miniature
    home = "miniature" if mini else "real"
    world, every = (sets.OWN, ()) if own else (home, sets.resolve("all", home))
    chosen = tuple(benchmark.name for benchmark in own) or sets.resolve(benchmarks, world)
    if split not in sets.SPLITS[world]:
        raise ValueError(f"the {world} benchmarks have no split {split!r}; known: {', '.join(sets.SPLITS[world])}")
    if limit < 0 or max_new_tokens < 0:
        raise ValueError(f"limit is {limit} and max_new_tokens {max_new_tokens}; expected 0 or positive numbers")
    if also == "auto":
        also = KINDS if home == "miniature" and decoding == "hybrid" else ()
    elif isinstance(also, str):
        also = tuple(filter(None, (other.strip() for other in also.removeprefix("none").split(","))))
    also = tuple(other for other in also if other != decoding)
    for other in also:
        check_known("decoding", other, DECODINGS)
        _decoding_of(prompt, other)
    if not model:
        family = scale(size, family).family
        found = find_trained(size, family, mixture, method, seed)
        trained = {"size": size, "family": family, "mixture": mixture, "seed": seed}
    some = chosen if chosen != every else ()
    unusual = [prompt] if prompt != prompts.MAMMOTH else []
    unusual += [f"{shots}shots"] if shots != prompts.MAX_SHOTS else []
    unusual += [engine] if engine != "auto" else []
    plain = evaluation_name(found.name, decoding, split, some, limit)
    return Evaluation(
        name=name or "-".join((plain, *unusual)),
        world=world,
        **trained,
        **{key: getattr(found, key) for key in ("model", "adapter", "base", "method")},
        decoding=decoding,
        also=also,
        benchmarks=chosen,
        split=split,
        limit=limit,
        max_new_tokens=max_new_tokens or NEW_TOKENS[home],
        own=own,
        prompt=prompt,
        shots=shots,
        engine=engine,
    )


def _decoding_of(prompt: str, decoding: str) -> str:
    """Return the way of decoding for a prompt: hybrid needs both kinds, so a prompt of one kind is decoded as that.

    Raises:
        ValueError: If the prompt cannot ask for what the decoding needs.
    """
    kinds = prompts.kinds_of(prompts.parse_styles(prompt))
    if decoding == "hybrid" and len(kinds) == 1:
        return kinds[0]
    if decoding == "paper" and prompt != prompts.MAMMOTH:
        raise ValueError(
            f"decoding=paper is the released runner to the letter, which asks prompt={prompts.MAMMOTH}; got {prompt}"
        )
    if decoding in KINDS and decoding not in kinds:
        raise ValueError(f"prompt={prompt} asks for {kinds[0]} alone, and decoding={decoding} needs {decoding}; choose "
                         f"decoding={kinds[0]}, or a prompt of both kinds such as chat_pot+chat_cot")  # fmt: skip
    return decoding


def _check_shots(prompt: str, shots: int) -> None:
    """Raise ValueError if a prompt cannot have that many examples."""
    if not 0 <= shots <= prompts.MAX_SHOTS:
        raise ValueError(f"shots is {shots}; expected 0 to {prompts.MAX_SHOTS}")
    if shots != prompts.MAX_SHOTS and not prompts.has_examples(prompts.parse_styles(prompt)):
        known = " or ".join(prompts.FEW_SHOT)
        raise ValueError(f"shots={shots} is for a few-shot prompt, {known}; got prompt={prompt}")


def _own_benchmarks(benchmarks: str, graded_as: str) -> tuple[sets.Benchmark, ...]:
    """Return the benchmarks of a list that are files of the reader's own; empty if none is one."""
    names = [name.strip() for name in benchmarks.split(",") if name.strip()]
    files = [name for name in names if own_benchmarks.is_file(name)]
    if not files:
        if graded_as:
            raise ValueError(f"graded_as={graded_as} is for a benchmark of your own, given as a file; got {benchmarks}")
        return ()
    if len(files) < len(names):
        others = ", ".join(name for name in names if name not in files)
        raise ValueError(f"{', '.join(files)} is a benchmark of your own and {others} is not; evaluate them apart")
    own = tuple(own_benchmarks.read_benchmark(name, graded_as) for name in files)
    if len({benchmark.name for benchmark in own}) < len(own):
        raise ValueError(f"{', '.join(files)} would have one name, {own[0].name}; rename one of the files")
    return own


def _completions_file(completions: str, benchmarks: str, name: str) -> Evaluation:
    """Return the description of a file's grading: the file is looked for here, in the project and in the data."""
    folders = [Path(), paths.root(), *filter(None, [paths.data()])]
    places = [folder / completions for folder in folders]
    file = next((place for place in places if place.is_file()), None)
    if file is None:
        raise FileNotFoundError(
            f"expected a completions file, got {completions!r}; looked at {', '.join(map(str, places))}"
        )
    names = [] if benchmarks.strip() == "all" else benchmarks.split(",")
    chosen = tuple(sets.info(each.strip()).name for each in names)
    stem = slug(file.name.removesuffix(".gz").removesuffix(".jsonl"))
    return Evaluation(
        name=name or "-".join(filter(None, ("completions", stem, "+".join(chosen)))),
        world="miniature" if chosen and chosen[0].startswith(MINI) else "real",
        decoding=STORED,
        benchmarks=chosen,
        completions=str(file),
    )


def find_trained(size: str, family: str, mixture: str, method: str, seed: int) -> FoundModel:
    """Return the model that ``train`` left for these parameters, or the untuned base for the mixture ``"none"``.

    Raises:
        ValueError: If a value is unknown, or ``method="auto"`` finds several.
        FileNotFoundError: If there is none, naming the command that makes it.
    """
    if mixture == UNTUNED:
        return _find_base(scale(size, family), str(RunName(family, size, UNTUNED)))
    if mixture not in MIXTURES:
        raise ValueError(f"unknown mixture {mixture!r}; known: {', '.join(MIXTURES)}, {UNTUNED} (the untuned base)")
    check_known("method", method, METHODS)
    methods = METHODS[1:] if method == "auto" else (method,)
    names = [str(RunName(family, size, mixture, each, seed)) for each in methods]
    there = [name for name in names if (paths.run_dir("train", name) / "run.json").is_file()]
    if len(there) > 1:
        # At miniature size `auto` is full fine-tuning, as in `train`; elsewhere the reader has to say.
        full = str(RunName(family, size, mixture, "full", seed))
        if not (scale(size, family).miniature and full in there):
            raise ValueError(f"several models answer to that: {', '.join(there)}; say which method")
        there = [full]
    if not there:
        command = (
            f"papermill notebooks/train.ipynb runs/train-{size}.ipynb -p size {size} -p family {family} "
            f"-p mixture {mixture} -p method {method} -p seed {seed}"
        )
        raise FileNotFoundError(
            f"no trained model {' or '.join(names)} below {paths.runs() / 'train'}; make it with\n  {command}"
        )
    return find_given(str(paths.run_dir("train", there[0])))


def find_given(model: str) -> FoundModel:
    """Return the model that a path, a run of ``train``, an adapter's folder, a hub name or an address means.

    ``model/`` and ``adapter/`` inside a run's folder mean that run. An adapter from elsewhere is applied to the base
    that its ``adapter_config.json`` names, in 16 bit: nothing says whether it was trained on a 4-bit base.

    Raises:
        FileNotFoundError: If it is a folder without a finished training or weights.
        ValueError: If it is a folder that is no model: a checkpoint, or one that holds a model and an adapter.
        BaseModelError: If an adapter's base is another than the one that it was trained on.
    """
    if is_endpoint(model):
        address = model.split("://", 1)[1]
        return FoundModel(slug(address), model, base=model.partition("#")[2])
    if (known := released(model)) is not None:
        model = known.hub
    if is_gguf(model):
        file = find_gguf(model)
        return FoundModel(slug(file.stem), str(file), base=file.name, world="real")
    folder = next((place for place in (Path(model).expanduser(), paths.root() / model) if place.is_dir()), None)
    if folder is not None:
        if folder.name in ("model", "adapter") and (folder.parent / "run.json").is_file():
            folder = folder.parent
        if (folder / "run.json").is_file():
            return _find_run(folder)
        if folder.parent.name == "checkpoints" and (folder.parent.parent / "run.json").is_file():
            raise ValueError(
                f"{folder} is a checkpoint of an unfinished training; start the training again, it goes on there"
            )
        if is_adapter(folder):
            return _find_foreign_adapter(folder)
    place = find_model(model)
    name = slug(Path(place).name if Path(place).is_dir() else place)
    return FoundModel(name, place, base=place, world=_world_of(place))


def _find_run(folder: Path) -> FoundModel:
    """Return the model of a finished training: its own, or its adapter with the base that it was trained on."""
    if not (folder / "record.json").is_file():
        raise FileNotFoundError(f"the training in {folder} did not finish; start it again, it goes on where it was")
    run = records.read_json(folder / "run.json")
    of = scale(run["size"], run["family"])
    base, world = run.get("base") or of.base, "miniature" if of.miniature else "real"
    if weight_files(folder / "model"):
        return FoundModel(folder.name, str(folder / "model"), "", base, run["method"], world)
    adapter, revision = require_weights(folder / "adapter"), run.get("revision", "")
    place = base_at_revision(base, revision)
    path = find_model(place)
    require_same_base(run.get("inputs", {}).get("base", {}), base, revision, path if Path(path).is_dir() else "")
    place = path if is_gguf(place) else place  # an adapter goes onto the weights that it was trained on
    return FoundModel(folder.name, place, str(adapter), base, run["method"], world)


def _find_foreign_adapter(folder: Path) -> FoundModel:
    """Return an adapter of another program with its base."""
    whole = [file.name for file in weight_files(folder) if not file.name.startswith("adapter_model")]
    if whole:
        raise ValueError(
            f"{folder} holds a model ({whole[0]}) and an adapter (adapter_config.json), and nothing says which is "
            "meant; move one of them into a folder of its own"
        )
    require_weights(folder)
    config = records.read_json(folder / "adapter_config.json")
    base, kind = str(config.get("base_model_name_or_path") or ""), config.get("peft_type")
    if kind != "LORA":
        raise ValueError(f"{folder} is a {kind} adapter; only LoRA adapters can be merged into their base")
    if not base:
        raise ValueError(f"{folder}/adapter_config.json names no base (base_model_name_or_path); write it there")
    try:
        place = find_model(base_at_revision(base, config.get("revision") or ""))
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"the adapter in {folder} is of the base {base}, which is not here; write where it is into its "
            "adapter_config.json (base_model_name_or_path)"
        ) from error
    method = "LoRA, on the base in 16 bit"
    return FoundModel(slug(folder.name), place, str(folder), base, method, _world_of(place))


def _world_of(place: str) -> str:
    """Return the world of a model that no run describes: the miniature's if it ships with the project, else none."""
    return "miniature" if Path(place).resolve().is_relative_to(paths.miniature_models().resolve()) else ""


def _find_base(of: Scale, name: str) -> FoundModel:
    """Return the untuned base of a scale: the miniature's folder, or the hub name."""
    if not of.miniature:
        return FoundModel(name, of.base, base=of.base, method="base")
    folder = paths.miniature_models() / of.base
    if not weight_files(folder):
        raise FileNotFoundError(
            f"the base {of.base} ships with the project in {folder}, and is not there; restore it from git, "
            f"or make it again with\n  python -m mammoth_utils.miniature.pretraining {of.base}"
        )
    return FoundModel(name, str(folder), base=of.base, method="base")


def slug(text: str) -> str:
    """Return a name for a folder: letters, digits and ``._+-`` of a text."""
    return re.sub(r"[^A-Za-z0-9._+-]+", "-", text).strip("-.") or "model"
