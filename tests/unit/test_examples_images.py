from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image, ImageDraw

from examples.images import thumbnail
from tests.unit.handler_context import make_context
from worker_service import TaskFailed

if TYPE_CHECKING:
    from pathlib import Path

ORIENTATION = 0x0112
TURN_LEFT = 6


def draw(size: tuple[int, int], mode: str = "RGB") -> Image.Image:
    """A picture with a red left half, a blue right half, and a disc in the middle."""
    picture = Image.new("RGB", size, "red")
    width, height = size
    pen = ImageDraw.Draw(picture)
    pen.rectangle((width // 2, 0, width, height), fill="blue")
    pen.ellipse((width // 3, height // 3, 2 * width // 3, 2 * height // 3), fill="white")
    return picture.convert(mode)


def transparent(size: tuple[int, int]) -> Image.Image:
    """A picture whose left half cannot be seen."""
    picture = draw(size, "RGBA")
    picture.paste((0, 0, 0, 0), (0, 0, size[0] // 2, size[1]))
    return picture


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Real pictures of several formats and kinds, and some that only look like pictures."""
    folder = tmp_path / "pictures"
    (folder / "inner").mkdir(parents=True)
    draw((640, 480)).save(folder / "photo.jpg")
    draw((640, 480), "CMYK").save(folder / "print.jpeg")
    transparent((300, 600)).save(folder / "logo.png")
    draw((400, 400), "P").save(folder / "palette.gif")
    frames = [Image.new("RGB", (200, 100), color) for color in ("green", "black")]
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:])
    draw((500, 250)).save(folder / "web.webp")
    draw((300, 300), "L").save(folder / "scan.tiff")
    draw((20, 10)).save(folder / "tiny.bmp")
    whole = (folder / "photo.jpg").read_bytes()
    (folder / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "text.png").write_text("no picture at all", encoding="utf-8")
    (folder / "empty.webp").write_bytes(b"")
    (folder / "notes.txt").write_text("left alone", encoding="utf-8")
    draw((10, 10)).save(folder / "inner" / "deeper.png")
    return folder


def run(payload: Any) -> dict[str, Any]:
    ctx, _ = make_context()
    result: dict[str, Any] = thumbnail(ctx, payload)
    return result


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("photo.jpg", (100, 75)),
        ("print.jpeg", (100, 75)),
        ("logo.png", (50, 100)),
        ("palette.gif", (100, 100)),
        ("moving.gif", (100, 50)),
        ("web.webp", (100, 50)),
        ("scan.tiff", (100, 100)),
        ("tiny.bmp", (20, 10)),
    ],
)
@pytest.mark.parametrize("ending", ["png", "jpg", "webp", "gif", "bmp", "tiff"])
def test_every_format_becomes_every_other_and_fits(
    pictures: Path, tmp_path: Path, source: str, expected: tuple[int, int], ending: str
) -> None:
    target = tmp_path / "out" / f"small.{ending}"
    result = run({"source": str(pictures / source), "target": str(target), "size": [100, 100]})
    with Image.open(target) as made:
        made.load()
        assert made.size == expected
        assert made.format == result["format"]
    assert result["size"] == list(expected)
    assert result["bytes"] == target.stat().st_size
    assert result["target"] == str(target)
    assert list(target.parent.iterdir()) == [target], "only the picture itself may be there"


def test_the_colours_stay(pictures: Path, tmp_path: Path) -> None:
    target = tmp_path / "small.png"
    result = run({"source": str(pictures / "photo.jpg"), "target": str(target), "size": [64, 64]})
    assert result["original_size"] == [640, 480]
    with Image.open(target) as made:
        left, right = made.getpixel((2, 2)), made.getpixel((61, 45))
    assert isinstance(left, tuple)
    assert isinstance(right, tuple)
    assert left[0] > 200
    assert left[2] < 60
    assert right[2] > 200
    assert right[0] < 60


def test_transparency_stays_where_the_format_has_it_and_turns_white_elsewhere(pictures: Path, tmp_path: Path) -> None:
    for ending, seen in {"png": (0, 0, 0, 0), "jpg": (255, 255, 255)}.items():
        target = tmp_path / f"logo.{ending}"
        run({"source": str(pictures / "logo.png"), "target": str(target), "size": [50, 50]})
        with Image.open(target) as made:
            pixel = made.getpixel((3, 40))
        assert isinstance(pixel, tuple)
        assert all(abs(is_ - should) < 6 for is_, should in zip(pixel, seen, strict=True))


def test_a_turned_photo_is_put_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = TURN_LEFT
    draw((400, 200)).save(tmp_path / "turned.jpg", exif=exif)
    result = run({"source": str(tmp_path / "turned.jpg"), "target": str(tmp_path / "up.png"), "size": [100, 100]})
    assert result["original_size"] == [200, 400]
    assert result["size"] == [50, 100]


def test_sixteen_bits_of_grey_are_not_washed_out(tmp_path: Path) -> None:
    Image.new("I;16", (50, 50), 32_768).save(tmp_path / "xray.png")
    run({"source": str(tmp_path / "xray.png"), "target": str(tmp_path / "small.png"), "size": [10, 10]})
    with Image.open(tmp_path / "small.png") as made:
        assert made.convert("L").getpixel((5, 5)) == 128


def test_a_folder_of_pictures_becomes_a_folder_of_thumbnails(pictures: Path, tmp_path: Path) -> None:
    ctx, reports = make_context()
    target = tmp_path / "small"
    result: dict[str, Any] = thumbnail(ctx, {"source": str(pictures), "target": str(target), "size": [32, 32]})
    good = ["logo.png", "moving.gif", "palette.gif", "photo.jpg", "print.jpeg", "scan.tiff", "tiny.bmp", "web.webp"]
    broken = {"empty.webp", "text.png", "truncated.jpg"}
    assert (result["made"], result["failed"]) == (8, 3)
    assert sorted(path.name for path in target.iterdir()) == good
    assert {item["source"] for item in result["pictures"] if "error" in item} == broken
    assert all(item["error"] for item in result["pictures"] if "error" in item)
    for name in good:
        with Image.open(target / name) as made:
            assert max(made.size) <= 32
    assert [report.completed for report in reports] == [*range(11), 11]
    assert reports[-1].percent == 100
    json.dumps(result)


@pytest.mark.parametrize("name", ["truncated.jpg", "text.png", "empty.webp"])
def test_a_single_broken_picture_fails_the_task(pictures: Path, tmp_path: Path, name: str) -> None:
    target = tmp_path / "small.png"
    with pytest.raises(TaskFailed) as caught:
        run({"source": str(pictures / name), "target": str(target), "size": [10, 10]})
    assert caught.value.code == "BROKEN_IMAGE"
    assert name in caught.value.message
    assert not target.exists()


def test_a_file_is_put_into_a_folder_under_its_name(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "small").mkdir()
    run({"source": str(pictures / "web.webp"), "target": str(tmp_path / "small"), "size": [10, 10]})
    assert [path.name for path in (tmp_path / "small").iterdir()] == ["web.webp"]


def test_doing_it_again_replaces_what_is_there(pictures: Path, tmp_path: Path) -> None:
    payload = {"source": str(pictures / "web.webp"), "target": str(tmp_path / "small.png"), "size": [10, 10]}
    first = run(payload)
    assert run(payload) == first


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ({"source": None}, "BAD_PAYLOAD", "payload.source"),
        ({"target": ""}, "BAD_PAYLOAD", "payload.target"),
        ({"target": "small.exe"}, "BAD_PAYLOAD", "payload.target must end in"),
        ({"size": None}, "BAD_PAYLOAD", "payload.size"),
        ({"size": [10]}, "BAD_PAYLOAD", "payload.size"),
        ({"size": [10, 0]}, "BAD_PAYLOAD", "payload.size"),
        ({"size": [10.5, 10]}, "BAD_PAYLOAD", "payload.size"),
        ({"size": [True, 10]}, "BAD_PAYLOAD", "payload.size"),
        ({"size": [10, 10**9]}, "BAD_PAYLOAD", "payload.size"),
        ({"quality": 3}, "BAD_PAYLOAD", "payload.quality is not known"),
        ({"source": "/no/such.png"}, "SOURCE_NOT_FOUND", "/no/such.png"),
    ],
)
def test_a_payload_that_will_not_do_fails_with_a_code_and_a_sentence(
    pictures: Path, tmp_path: Path, change: dict[str, Any], code: str, words: str
) -> None:
    payload = {"source": str(pictures / "web.webp"), "target": str(tmp_path / "small.png"), "size": [10, 10]}
    with pytest.raises(TaskFailed) as caught:
        run({**payload, **change})
    assert caught.value.code == code
    assert words in caught.value.message


def test_the_source_is_never_overwritten(pictures: Path) -> None:
    before = (pictures / "web.webp").read_bytes()
    for source, target in ((pictures / "web.webp", pictures / "web.webp"), (pictures, pictures)):
        with pytest.raises(TaskFailed, match=r"payload\.target must"):
            run({"source": str(source), "target": str(target), "size": [10, 10]})
    assert (pictures / "web.webp").read_bytes() == before


def test_a_target_that_cannot_be_written_fails_the_task(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    target = tmp_path / "file" / "small.png"
    with pytest.raises(TaskFailed) as caught:
        run({"source": str(pictures / "web.webp"), "target": str(target), "size": [10, 10]})
    assert caught.value.code == "TARGET_NOT_WRITABLE"
