"""A file that somebody made is read with each row's place, or refused in one sentence that says what to do."""

from __future__ import annotations

import gzip
import json

import pandas
import pytest

from mammoth_utils import row_files
from mammoth_utils.row_files import RowFileError, read_rows

ROWS = [{"q": "a\u2028é", "a": "1"}, {"q": "b", "a": "2"}]
ARRAY = json.dumps(ROWS, ensure_ascii=False)
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)
CSV = 'q,a\r\n"a\u2028é",1\r\n\r\nb,2\r\n'


@pytest.mark.parametrize(
    ("name", "content", "places"),
    [
        ("a.json", ARRAY.encode(), ["row 1 (line 1)", "row 2 (line 1)"]),
        ("indented.json", json.dumps(ROWS, indent=1).encode(), ["row 1 (line 2)", "row 2 (line 6)"]),
        ("a.jsonl", LINES.encode(), ["line 1", "line 2"]),
        ("blank.jsonl", f"\n{LINES}\n".replace("\n", "\r\n").encode(), ["line 2", "line 3"]),
        ("no end.jsonl", LINES.rstrip().encode(), ["line 1", "line 2"]),
        ("mark.json", ARRAY.encode("utf-8-sig"), ["row 1 (line 1)", "row 2 (line 1)"]),
        ("utf16.jsonl", LINES.encode("utf-16"), ["line 1", "line 2"]),
        ("a.json.gz", gzip.compress(ARRAY.encode("utf-8-sig"), mtime=0), ["row 1 (line 1)", "row 2 (line 1)"]),
        ("packed without the ending.jsonl", gzip.compress(LINES.encode(), mtime=0), ["line 1", "line 2"]),
        ("a.csv", CSV.encode("utf-8-sig"), ["line 2", "line 4"]),
        ("excel.csv", CSV.replace(",", ";").encode(), ["line 2", "line 4"]),
        ("excel.tsv", CSV.replace(",", "\t").encode("utf-16"), ["line 2", "line 4"]),
        ("a.csv.gz", gzip.compress(CSV.encode(), mtime=0), ["line 2", "line 4"]),
        ("objects over lines.json", "\n".join(json.dumps(row, indent=1) for row in ROWS).encode(),
         ["row 1 (line 1)", "row 2 (line 5)"]),
    ],
)  # fmt: skip
def test_each_form_gives_the_rows_with_their_places(tmp_path, name, content, places):
    (tmp_path / name).write_bytes(content)
    assert list(read_rows(tmp_path / name)) == list(zip(places, ROWS, strict=True))


def test_parquet_is_read_whatever_its_name(tmp_path):
    for name in ("a.parquet", "renamed.json"):
        pandas.DataFrame(ROWS).to_parquet(tmp_path / name)
        assert list(read_rows(tmp_path / name)) == [("row 1", ROWS[0]), ("row 2", ROWS[1])]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.json", b"", r"empty\.json holds no row \(0 bytes\); expected JSON"),
        ("header.csv", b"q,a\n", "holds no row"),
        ("latin.json", ARRAY.replace("\u2028", "").encode("latin-1"), r"byte 9 is 0xe9.*iconv -f cp1252 -t utf-8 "),
        ("late.jsonl", LINES.encode() * 90_000 + b'{"q": "\xe9"}\n', r"is not UTF-8: byte 4,230,007 is 0xe9"),
        ("no mark.json", ARRAY.encode("utf-16-le"), r"byte 1 is 0\); convert it: iconv -f utf-16"),
        ("cut.json", ARRAY.encode() + b"\xc3", "ends within a character, so it is cut"),
        ("data.json", json.dumps({"version": 1, "data": ROWS}, indent=1).encode(), r"the list 'data'; .*python -c "),
        ("data.json", json.dumps({"data": ROWS}).encode(), r"the list 'data'; .*python -c "),
        ("columns.json", b'{"q": {"0": "a"}, "a": {"0": "1"}}', "is one object with 'q', 'a'"),
        ("broken.jsonl", f'{LINES}{{"q": "c" "a": 1}}\n'.encode(), r"line 3: no JSON at column 11 \(Expecting ','"),
        ("broken.json", b'[\n{"q": "c"},\n{"q": "c" "a": 1}\n]', r"line 3: no JSON after row 1 \(Expecting ','"),
        ("cut.json", ARRAY.encode()[:-8], r"cut after row 1 \(line 1\)"),
        ("cut.jsonl", LINES.encode()[:-8], "line 2: no JSON at column"),
        ("cut.json.gz", gzip.compress(ARRAY.encode(), mtime=0)[:-9], "gzip file is cut or damaged"),
        ("a list.json", b'[["a"], ["b"]]', r"row 1 \(line 1\): expected an object with columns, got a list"),
        ("numbers.jsonl", b'{"q": 1}\n3\n', "line 2: expected an object with columns, got a number"),
        ("deep.jsonl", b'{"q": ' + b"[" * 100_000 + b"]" * 100_000 + b"}\n", "cannot be read: maximum recursion"),
        ("sheet.csv", b"PK\x03\x04", "an Excel workbook: unpack it, or save the sheet as CSV UTF-8"),
        ("page.json", b"<!doctype html>", "an error page"),
        ("pointer.json", b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        ("text.txt", b"hello", "line 1: no JSON, it begins with 'hello'.*with the ending .csv"),
        ("fields.csv", b"q,a\nx,1,2\n", "line 2: 3 fields, the header has 2"),
        ("quote.csv", b'q,a\nx,1\n"y,1\nz,2\n', "row that begins on line 3: no CSV"),
        ("twice.csv", b"q,q\na,b\n", "names 'q' twice"),
        ("cut.parquet", b"PAR1xxxx", "Parquet file is cut or damaged"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_in_one_line_with_the_file(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RowFileError, match=message) as caught:
        list(read_rows(tmp_path / name))
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_and_a_missing_file_are_refused(tmp_path):
    with pytest.raises(RowFileError, match="is a folder; expected a file"):
        list(read_rows(tmp_path))
    with pytest.raises(RowFileError, match=r"no file .*missing\.json"):
        list(read_rows(tmp_path / "missing.json"))


def test_one_row_with_a_chat_or_options_is_a_row(tmp_path):
    row = {"messages": [{"role": "user", "content": "x"}], "options": ["1", "2"]}
    (tmp_path / "one.jsonl").write_text(json.dumps(row))
    assert list(read_rows(tmp_path / "one.jsonl")) == [("line 1", row)]


def test_a_file_is_found_from_the_working_folder_the_home_and_the_project(tmp_path, monkeypatch):
    (tmp_path / "my data").mkdir()
    file = tmp_path / "my data" / "rows.jsonl"
    file.write_text(LINES)
    monkeypatch.setenv("MAMMOTH_ROOT", str(row_files.paths.root()))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert row_files.find_file("my data/rows.jsonl") == row_files.find_file("~/my data/rows.jsonl") == file
    assert row_files.find_file("README.md") == row_files.paths.root() / "README.md"
    with pytest.raises(RowFileError, match=r"no file 'rows\.json' in "):
        row_files.find_file("rows.json")
    with pytest.raises(RowFileError, match="is an address; download the file"):
        row_files.find_file("https://example.org/rows.json")


def test_a_number_of_more_digits_than_python_reads_is_kept_as_text(tmp_path):
    path = tmp_path / "long number.jsonl"
    path.write_text('{"q": "a", "id": ' + "9" * 5000 + "}\n", "utf8")
    assert [row for _, row in read_rows(path)] == [{"q": "a", "id": "9" * 5000}]
