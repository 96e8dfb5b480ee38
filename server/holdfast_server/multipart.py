"""A multipart/form-data body, part by part: text fields are kept in memory, files go to disk and are hashed on the way.

No event loop here: `MultipartReader` is fed from a thread. RFC 7578, as browsers write it.
"""

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from holdfast_server.attachments import IncomingFile
from holdfast_server.idempotency import Part
from holdfast_server.limits import Limits
from holdfast_server.problems import malformed_body, too_large

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
NAME_LIMIT: Final = 255


class MultipartReader:
    """Takes the body in pieces of any size. Afterwards `fields`, `files` and `parts` (all of them, in order) hold it.

    Args:
        boundary: from the content type.
        limits: caps on files, text and parts; the body as a whole is counted by the caller.
        new_path: gives a path for each file.
    """

    def __init__(self, boundary: bytes, *, limits: Limits, new_path: Callable[[], Path]) -> None:
        self.fields: list[tuple[str, str]] = []
        self.files: list[IncomingFile] = []
        self.parts: list[Part] = []
        self._limits = limits
        self._new_path = new_path
        self._text_left = limits.text
        self._header_name = b""
        self._header_value = b""
        self._headers: dict[bytes, bytes] = {}
        self._part: _TextPart | _FilePart | None = None
        self._ended = False
        callbacks: Any = {
            "on_part_begin": self._part_begin,
            "on_header_field": self._header_field,
            "on_header_value": self._header_piece,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_part_data": self._part_data,
            "on_part_end": self._part_end,
            "on_end": self._end,
        }
        try:
            self._parser = MultipartParser(boundary, callbacks)
        except FormParserError as error:
            raise malformed_body("The multipart boundary is too long.") from error

    def feed(self, data: bytes) -> None:
        """Take the next piece.

        Raises:
            Problem: 400 where this is no multipart body, 413 where it is over a cap.
        """
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise malformed_body("The body is not well-formed multipart/form-data.") from error

    def finish(self) -> None:
        """Say that the body is over.

        Raises:
            Problem: 400 where its last boundary never came.
        """
        if not self._ended:
            raise malformed_body("The multipart body ends before its last boundary.")

    def abandon(self) -> None:
        """Remove every file that was written and not kept since."""
        if isinstance(self._part, _FilePart):
            self._part.abandon()
            self._part = None
        for file in self.files:
            file.path.unlink(missing_ok=True)

    def _part_begin(self) -> None:
        if len(self.parts) >= self._limits.parts:
            raise too_large(f"The form has more than {self._limits.parts} parts.")
        self._headers = {}
        self._header_name = self._header_value = b""

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _header_piece(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _header_end(self) -> None:
        self._headers[self._header_name.lower()] = self._header_value
        self._header_name = self._header_value = b""

    def _headers_finished(self) -> None:
        disposition, options = parse_options_header(self._headers.get(b"content-disposition"))
        if disposition != b"form-data" or b"name" not in options:
            raise malformed_body("A part of the form has no name.")
        name = _text(options[b"name"], "name")
        content_type = _CONTROL.sub("", parse_options_header(self._headers.get(b"content-type"))[0].decode("latin-1"))
        filename = options.get(b"filename")
        # A JSON part may come as a Blob, which browsers give the filename "blob": it is a field all the same.
        if filename is None or content_type == "application/json":
            self._part = _TextPart(name, content_type)
        else:
            self._part = _FilePart(name, _file_name(_text(filename, "filename")), content_type, self._new_path())

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        size = end - start
        if isinstance(self._part, _FilePart):
            if self._part.size + size > self._limits.file:
                raise too_large(f"A file is larger than {self._limits.file} bytes, the most one may have.")
            self._part.write(memoryview(data)[start:end])
        elif self._part is not None:
            self._text_left -= size
            if self._text_left < 0:
                raise too_large(f"The text fields are larger than {self._limits.text} bytes together.")
            self._part.content += data[start:end]

    def _part_end(self) -> None:
        part, self._part = self._part, None
        if isinstance(part, _FilePart):
            file = part.close()
            if file.size == 0 and file.name == "":
                file.path.unlink()  # a file control in which nothing was chosen
                return
            self.files.append(file)
            self.parts.append(Part(file.field, file.name, file.type, file.sha256))
        elif part is not None:
            self.fields.append((part.name, _text(bytes(part.content), part.name)))
            digest = hashlib.sha256(part.content).hexdigest()
            self.parts.append(Part(part.name, None, part.content_type, digest))

    def _end(self) -> None:
        self._ended = True


class _TextPart:
    def __init__(self, name: str, content_type: str) -> None:
        self.name = name
        self.content_type = content_type
        self.content = bytearray()


class _FilePart:
    def __init__(self, field: str, name: str, content_type: str, path: Path) -> None:
        self.size = 0
        self._field = field
        self._name = name
        self._type = content_type
        self._path = path
        self._hash = hashlib.sha256()
        self._file: BinaryIO = path.open("xb")

    def write(self, data: memoryview) -> None:
        self._file.write(data)
        self._hash.update(data)
        self.size += len(data)

    def close(self) -> IncomingFile:
        self._file.close()
        return IncomingFile(self._field, self._name, self._type, self.size, self._hash.hexdigest(), self._path)

    def abandon(self) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)


def _text(content: bytes, what: str) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise malformed_body(f"The form's {what[:NAME_LIMIT]} is not UTF-8 text.") from error


def _file_name(raw: str) -> str:
    """The name to show for a file: without folders, quotes as browsers escape them (RFC 7578, 4.2 and WHATWG), no controls."""
    unescaped = raw.replace("%22", '"').replace("%0D", " ").replace("%0A", " ")
    base = unescaped.replace("\\", "/").rpartition("/")[2]
    return _CONTROL.sub("", base).strip()[-NAME_LIMIT:]
