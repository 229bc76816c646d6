"""Labels as the operator meets them: accepted with a description, or refused with the reason."""

from dataclasses import dataclass

from station.catalogue import BoardShape, Catalogue, Label, LabelError, parse_label
from station.catalogue.label import LABEL_LENGTH

CUT_WORDS = {"F": "full", "L": "left-cut", "R": "right-cut"}
MATERIAL_WORDS = {"cast": "cast tiles", "moulded": "moulded tiles"}


@dataclass(frozen=True)
class Checked:
    """A label that was read. `refusal` is empty when it is accepted; `whole` says that it is no
    longer being typed."""

    text: str
    refusal: str = ""
    about: str = ""
    shape: BoardShape | None = None
    whole: bool = True


def check_module(text: str, catalogue: Catalogue) -> Checked:
    """Whether `text` is the label of a tile module that the catalogue knows."""
    try:
        label = parse_label(text)
        if label.kind != "tile_module":
            kind = label.kind.replace("_", " ")
            raise LabelError(label.text, f"is a {kind}; the label of the tile module is needed")
        shape = catalogue.shape_of(label)
    except LabelError as error:
        refusal = f"Not accepted: {error.text}: {error.reason}."
        return Checked(error.text, refusal, whole=len(error.text) >= LABEL_LENGTH)
    return Checked(label.text, about=_about(label, shape), shape=shape)


def about_label(text: str, catalogue: Catalogue) -> str:
    """`Tile module D8, full, cast tiles · 64 channels`; empty for what is no label."""
    try:
        label = parse_label(text)
    except LabelError:
        return ""
    return _about(label, catalogue.board_shapes.get(label.shape_name or ""))


def _about(label: Label, shape: BoardShape | None) -> str:
    words = [label.kind.replace("_", " ").capitalize()]
    if label.shape_name is not None:
        words[0] += f" {label.shape_name[:-1]}"
        words.append(CUT_WORDS[label.shape_name[-1]])
    if label.material is not None:
        words.append(MATERIAL_WORDS[label.material])
    about = ", ".join(words)
    return about if shape is None else f"{about} · {shape.n_channels} channels"
