"""Rows of a file that somebody made: JSON, JSON Lines, either gzipped, CSV, TSV or Parquet, each row with its place.

The form follows from the content first and from the name second, since files are renamed. The standard library reads
JSON and CSV, and pyarrow reads Parquet: they say on which line a row stands, which the loaders of ``datasets`` do not,
and they copy nothing into a cache. A file that cannot be read ends in one sentence that names it and says what to do.
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import gzip
import io
import json
import os
import shlex
import zlib
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from mammoth_utils import paths
from mammoth_utils.records import Record

FORMS = "JSON (an array of objects), JSON Lines, CSV or TSV with a header, or Parquet; JSON and CSV may be gzipped"
ENDINGS = (".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".parquet", ".gz")
NESTED = ("messages", "conversations", "options", "choices")  # columns whose values are lists or objects
LONGEST = 1 << 24  # characters that a row may have
_CHUNK = 1 << 20
_GZIP, _PARQUET = b"\x1f\x8b", b"PAR1"
_UNICODE = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
            (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))  # fmt: skip
_OTHERS = {
    b"PK\x03\x04": "a zip archive or an Excel workbook: unpack it, or save the sheet as CSV UTF-8",
    b"\xd0\xcf\x11\xe0": "an Excel or Word file of the old form: save the sheet as CSV UTF-8",
    b"%PDF": "a PDF",
    b"BZh": "packed by bzip2: unpack it with bunzip2",
    b"\xfd7zXZ": "packed by xz: unpack it with unxz",
    b"\x28\xb5\x2f\xfd": "packed by zstd: unpack it with unzstd",
    b"ARROW1": "an Arrow file: write it as Parquet",
    b"version https://git-lfs": "the pointer of Git LFS, not the file: fetch the file with `git lfs pull`",
    b"<": "a web page or XML: was an error page saved in place of the file?",
}


class RowFileError(ValueError):
    """A file cannot be read as rows; the message names the file, the place, and what to do."""


def find_file(name: str | Path) -> Path:
    """Return the path of a file or folder: as given, from the working folder, else from the project's folder.

    Raises:
        RowFileError: If there is none.
    """
    if "://" in str(name):
        raise RowFileError(f"{name} is an address; download the file and name its path")
    given = Path(name).expanduser()
    places = [given] if given.is_absolute() else [Path.cwd() / given, paths.root() / given]
    for place in places:
        if place.exists():
            return place.resolve()
    looked = " and ".join(dict.fromkeys(str(place.parent) for place in places))
    raise RowFileError(f"no file {given.name!r} in {looked}")


def read_rows(path: Path) -> Iterator[tuple[str, Record]]:
    """Yield each row with its place, such as ``line 7``, without holding the file in memory.

    The place is ``line 7`` in JSON Lines and CSV, ``row 3 (line 7)`` in a JSON array, and ``row 3`` in Parquet; both
    count from 1. A value has the type that the file gives it, which is text in CSV.

    Raises:
        RowFileError: If the file is missing, is a folder, is empty, is cut, or holds something else than rows.
    """
    path, none = Path(path), True
    try:
        for place, row in _read(path):
            if not isinstance(row, dict):
                raise RowFileError(f"{path}, {place}: expected an object with columns, got {name_type(row)}")
            none = False
            yield place, row
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise RowFileError(f"{path}: the gzip file is cut or damaged: {error}; copy or fetch it again") from error
    except UnicodeDecodeError as error:
        raise RowFileError(_describe_encoding(path)) from error
    except RowFileError:
        raise
    except (ValueError, RecursionError) as error:  # lists nested a thousand deep
        raise RowFileError(f"{path} cannot be read: {error}") from error
    except FileNotFoundError as error:
        raise RowFileError(f"no file {path}") from error
    except IsADirectoryError as error:
        raise RowFileError(f"{path} is a folder; expected a file: {FORMS}") from error
    except OSError as error:
        raise RowFileError(f"{path} cannot be read: {error.strerror or error}") from error
    if none:
        raise RowFileError(f"{path} holds no row ({path.stat().st_size:,} bytes); expected {FORMS}")


def _read(path: Path) -> Iterator[tuple[str, object]]:
    with _open_bytes(path) as raw:
        head = raw.read(4096)
    if head.startswith(_PARQUET):
        yield from _read_parquet(path)
        return
    encoding = next((name for mark, name in _UNICODE if head.startswith(mark)), "utf-8")
    if encoding == "utf-8":
        for mark, what in _OTHERS.items():
            if head.lstrip().startswith(mark):
                raise RowFileError(f"{path} is {what}; expected {FORMS}")
        if 0 in head[:2]:  # ASCII in two bytes a character, without the mark that would say so
            raise RowFileError(f"{path} is no text of UTF-8 (byte {head.index(0)} is 0); {_conversion(path, 'utf-16')}")
    begin = head.decode(encoding, errors="replace").lstrip()[:1]
    names = [part.lower() for part in path.suffixes]
    if begin in ("[", "{"):
        yield from _read_json(path, encoding, begin)
    elif {".csv", ".tsv"} & set(names):
        yield from _read_csv(path, encoding, "\t" if ".tsv" in names else "")
    elif begin:
        shown = head.decode(encoding, errors="replace").lstrip()[:40]
        with _open_text(path, encoding) as file:
            file.read()  # an encoding that is not UTF-8 is the likelier fault
        raise RowFileError(
            f"{path}, line 1: no JSON, it begins with {shown!r}; expected {FORMS}, CSV with the ending .csv"
        )


@contextlib.contextmanager
def _open_bytes(path: Path) -> Iterator[BinaryIO]:
    with open(path, "rb") as raw:
        packed = raw.read(2) == _GZIP
        raw.seek(0)
        if packed:
            with gzip.open(raw, "rb") as content:
                yield content
        else:
            yield raw


@contextlib.contextmanager
def _open_text(path: Path, encoding: str, newline: str | None = None) -> Iterator[TextIO]:
    with _open_bytes(path) as raw, io.TextIOWrapper(raw, encoding=encoding, newline=newline) as file:
        yield file


def _read_json(path: Path, encoding: str, begin: str) -> Iterator[tuple[str, object]]:
    """Yield the rows of JSON Lines line by line, and those of an array or of objects over several lines by a stream."""
    with _open_text(path, encoding) as file:
        if begin == "{" and _is_json(_first_line(file)):
            file.seek(0)
            rows = _read_lines(path, file)
        else:
            file.seek(0)
            rows = _stream_json(path, file)
        first = next(rows, None)
        second = next(rows, None)
        if first is None:
            return
        if second is None and begin == "{" and isinstance(first[1], dict):
            _check_single(path, first[1])
        yield first
        if second is not None:
            yield second
        yield from rows


def _first_line(file: TextIO) -> str:
    while line := file.readline(LONGEST):
        if line.strip():
            return line
    return ""


def whole_number(digits: str) -> int | str:
    """Return a whole number; as text where it has more digits than Python turns into a number."""
    try:
        return int(digits)
    except ValueError:
        return digits


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _check_single(path: Path, row: Record) -> None:
    """Raise RowFileError if a file's only object holds the rows inside."""
    lists = [key for key, value in row.items() if key not in NESTED and isinstance(value, list)
             and value and isinstance(value[0], dict)]  # fmt: skip
    tables = [key for key, value in row.items() if key not in NESTED and isinstance(value, dict)]
    if lists:
        code = f"import json; json.dump(json.load(open({str(path)!r}))[{lists[0]!r}], open('rows.json', 'w'))"
        raise RowFileError(
            f"{path} is one object, and its rows are the list {lists[0]!r}; write that list to a file of its own: "
            f"python -c {shlex.quote(code)}"
        )
    if tables or (row and all(isinstance(value, list) for value in row.values()) and not set(NESTED) & set(row)):
        raise RowFileError(f"{path} is one object with {', '.join(map(repr, list(row)[:8]))}; expected {FORMS}")


def _read_lines(path: Path, file: TextIO) -> Iterator[tuple[str, object]]:
    number = 0
    while line := file.readline(LONGEST + 1):
        number += 1
        if len(line) > LONGEST:
            raise RowFileError(f"{path}, line {number}: longer than {LONGEST:,} characters")
        if line.strip():
            try:
                yield f"line {number}", json.loads(line, parse_int=whole_number)
            except json.JSONDecodeError as error:
                raise RowFileError(
                    f"{path}, line {number}: no JSON at column {error.colno} ({error.msg}): {line.strip()[:60]!r}"
                ) from error


def _stream_json(path: Path, file: TextIO) -> Iterator[tuple[str, object]]:
    """Yield the values of an array, or values one after another, each decoded once it is there in full."""
    decoder, text, number, line = json.JSONDecoder(parse_int=whole_number), "", 0, 1
    array, failed = False, None
    while chunk := file.read(_CHUNK):
        text += chunk
        start, counted = 0, 0
        while True:
            while start < len(text) and text[start] in " \t\r\n,[":
                if text[start] == "[" and array:
                    break  # a list within the array, which is no row
                array = array or text[start] == "["
                start += 1
            line, counted = line + text.count("\n", counted, start), start
            if start == len(text) or text[start] == "]":
                break
            try:
                row, end = decoder.raw_decode(text, start)
            except json.JSONDecodeError as error:
                failed = error
                # A row that goes on in the next chunk fails at the end of this one, or in an open string.
                if error.msg.startswith("Unterminated string") or error.pos > len(text) - 16:
                    break
                raise RowFileError(_broken(path, number, line, text[counted:], error.pos - counted, error)) from error
            yield f"row {number + 1} (line {line})", row
            number, start, failed = number + 1, end, None
        text = text[counted:]
        if len(text) > LONGEST:  # else what stands behind a spoilt row would be held to the end of the file
            raise RowFileError(
                f"{_broken(path, number, line, text, 0, failed)}; a row has at most {LONGEST:,} characters"
            )
    if array and not text.rstrip().endswith("]"):
        raise RowFileError(f"{path}: cut after row {number} (line {line}): the array is not closed by ']'")
    if text.strip(" \t\r\n,[]"):
        raise RowFileError(_broken(path, number, line, text, 0, failed))


def _broken(path: Path, number: int, line: int, text: str, at: int, error: json.JSONDecodeError | None) -> str:
    """Return the message for a row that does not decode; ``at`` is the place of the error in ``text``."""
    place = line + text.count("\n", 0, at)
    why = f" ({error.msg})" if error else ""
    return f"{path}, line {place}: no JSON after row {number}{why}: {text[max(0, at - 20) : at + 40].strip()!r}"


def _read_csv(path: Path, encoding: str, delimiter: str) -> Iterator[tuple[str, object]]:
    limit = csv.field_size_limit(LONGEST)
    try:
        with _open_text(path, encoding, newline="") as file:
            header = _first_line(file)
            file.seek(0)
            # Excel writes semicolons where the comma is the decimal sign.
            delimiter = delimiter or max(",;\t", key=header.count)
            names: list[str] = []
            for line, fields in _split_csv(path, csv.reader(file, delimiter=delimiter, strict=True)):
                if not names:
                    names = [name.strip() for name in fields]
                    if twice := sorted({name for name in names if names.count(name) > 1}):
                        raise RowFileError(f"{path}: the header names {twice[0]!r} twice; it has {', '.join(names)}")
                elif len(fields) > len(names):
                    raise RowFileError(
                        f"{path}, line {line}: {len(fields)} fields, the header has {len(names)}: a text that holds "
                        f"{delimiter!r} stands in double quotes"
                    )
                else:
                    yield f"line {line}", dict(zip_longest(names, fields))
    finally:
        csv.field_size_limit(limit)


def _split_csv(path: Path, reader: Any) -> Iterator[tuple[int, list[str]]]:
    """Yield the fields of each row of a ``csv.reader`` that is not blank, with the line on which the row begins."""
    while True:
        line = reader.line_num + 1
        try:
            fields = next(reader, None)
        except csv.Error as error:
            raise RowFileError(
                f"{path}, the row that begins on line {line}: no CSV: {error}; is a quote not closed, or not doubled "
                "inside a text?"
            ) from error
        if fields is None:
            return
        if fields:
            yield line, fields


def _read_parquet(path: Path) -> Iterator[tuple[str, object]]:
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            number = 0
            for batch in file.iter_batches(batch_size=4096):
                for row in batch.to_pylist():
                    number += 1
                    yield f"row {number}", row
    except (pyarrow.ArrowException, OSError) as error:
        raise RowFileError(f"{path}: the Parquet file is cut or damaged: {str(error).splitlines()[0]}") from error


def _describe_encoding(path: Path) -> str:
    """Return the message for a file that is not UTF-8, with the place of the first byte that is none."""
    place, decoder = 0, codecs.getincrementaldecoder("utf-8")()
    with _open_bytes(path) as raw:
        while chunk := raw.read(_CHUNK):
            pending = len(decoder.getstate()[0])
            try:
                decoder.decode(chunk)
            except UnicodeDecodeError as error:
                place += error.start - pending
                value = error.object[error.start]
                return (f"{path} is not UTF-8: byte {place:,} is 0x{value:02x}, such as Windows or Latin-1 writes; "
                        f"{_conversion(path, 'cp1252')}")  # fmt: skip
            place += len(chunk)
    return f"{path} is no UTF-8: it ends within a character, so it is cut; copy or fetch it again"


def _conversion(path: Path, encoding: str) -> str:
    target = path.with_name(f"utf8-{path.name}")
    return f"convert it: iconv -f {encoding} -t utf-8 {shlex.quote(str(path))} > {shlex.quote(str(target))}"


def name_type(value: object) -> str:
    """Return what a value of a file is, in a reader's words."""
    known = {list: "a list", dict: "an object", str: "text", type(None): "null", bool: "true or false", int: "a number"}
    return known.get(type(value), "no number" if value != value else type(value).__name__)


def is_path(name: str) -> bool:
    """Return whether a parameter names a file or folder by its path, rather than one of a page's own names."""
    return bool(name) and (os.sep in name or name.startswith("~") or Path(name).suffix.lower() in ENDINGS)
