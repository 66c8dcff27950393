"""A report that is one file."""

import base64
import re
from html.parser import HTMLParser

from napari_topiary.io.own_files import written_by_topiary
from napari_topiary.report import html
from napari_topiary.report.html import Report, write_report


class Reader(HTMLParser):
    """Cells and addresses of a page."""

    def __init__(self):
        super().__init__()
        self.cells, self.addresses, self.open = [], [], []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.addresses += [v for k, v in attrs if k in ("src", "href")]

    def handle_data(self, data):
        if data.strip() and self.open[-1] in ("td", "th"):
            self.cells.append(data)


def test_a_report_needs_nothing_beside_it(tmp_path, monkeypatch):
    monkeypatch.setattr(html, "MOST_PICTURES", 1)
    picture = tmp_path / "a.png"
    picture.write_bytes(b"\x89PNG of some kind")
    report = Report(
        title="a <b> compared",
        heading="one image",
        table=[["", "F1"], ["net <1>", "0.9"]],
        pictures=[(picture, '2 "kept"')] * 2,
        notes=["A sentence & another."],
    )
    write_report(tmp_path / "report.html", report)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    reader = Reader()
    reader.feed(text)
    assert reader.cells == ["F1", "net <1>", "0.9"]
    (address,) = reader.addresses
    assert base64.b64decode(address.partition(",")[2]) == picture.read_bytes()
    assert "<b>" not in text and "A sentence &amp; another." in text
    assert "1 more pictures lie beside" in text
    assert not re.search("<script|https?:", text)
    assert written_by_topiary(tmp_path / "report.html")
    (tmp_path / "other.html").write_text("<html></html>", encoding="utf-8")
    assert not written_by_topiary(tmp_path / "other.html")
