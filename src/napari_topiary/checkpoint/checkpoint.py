"""A trained network as a value: what it is, what it learned, where it comes from."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from napari_topiary.checkpoint import metadata, storage
from napari_topiary.errors import TopiaryError
from napari_topiary.io.atomic import writing
from napari_topiary.io.output_files import check_replaced
from napari_topiary.networks import build_network
from napari_topiary.networks.base import Network, note_weights
from napari_topiary.normalisation.normalisation import Normalisation
from napari_topiary.types import Task


def factor_at(
    scale: float | None, working_factor: float, pixel_size_nm: float | None
) -> float:
    """Return how many pixels of an image are one pixel on the working grid.

    Parameters
    ----------
    scale
        nm per pixel of the image, None if unknown.
    working_factor, pixel_size_nm
        The same of the images that were trained on, and their nm per pixel.
    """
    if scale is None or pixel_size_nm is None:
        return working_factor
    return working_factor * pixel_size_nm / scale


@dataclass(frozen=True, eq=False, kw_only=True)
class Checkpoint:
    """Everything that rebuilds a network and says how to use it. Never changed."""

    network: str  #: Name of a registered network
    sizes: Mapping[str, Any]  #: Of the unpruned network
    in_channels: int  #: Channels of the images: 1 grey, 3 colour
    task: Task  #: Kind of answer and classes; the network has one map per class
    #: Parameter or buffer name -> tensor on the CPU, in the pruned shapes; weights that
    #: are masked are zero
    state: Mapping[str, torch.Tensor]
    #: Layer name -> (outputs, inputs) where pruning made it narrower than `sizes` say;
    #: empty for an unpruned network
    widths: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    #: Parameter name -> bool tensor of its shape, True = kept; empty if none
    masks: Mapping[str, torch.Tensor] = field(default_factory=dict)
    #: How intensities are brought to the network's range
    normalisation: Normalisation = field(default_factory=Normalisation)
    #: nm per original pixel of the training images, None if unknown
    pixel_size_nm: float | None = None
    working_factor: float = 1.0  #: Original pixels per pixel that the network sees
    unpruned_parameters: int = 0  #: Weights before any pruning
    pruning: tuple[dict[str, Any], ...] = ()  #: What was done, oldest first; JSON-able
    #: Best on the hold-out: class -> probability, and one that is `common` to all
    thresholds: Mapping[str, float] = field(default_factory=dict)
    #: `metrics`, `annotations_summary`, `provenance`: JSON-able: quality, what it was
    #: trained on, and how (name, seed, versions, minutes, device, date, hash of the
    #: parent)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    annotations_summary: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What the person called it; empty if nothing."""
        return str(self.provenance.get("name") or "")

    @cached_property
    def parameters(self) -> int:
        """Weights in the tensors, masked ones included, running statistics not."""
        named = dict(self._blank().named_parameters())
        return sum(t.numel() for name, t in self.state.items() if name in named)

    @cached_property
    def parameters_nonzero(self) -> int:
        """Weights that are not masked."""
        masked = sum(m.numel() - int(m.sum()) for m in self.masks.values())
        return self.parameters - masked

    @property
    def sparsity(self) -> float:
        """Share of the unpruned network's weights that is gone, 0..1."""
        return 1.0 - self.parameters_nonzero / max(1, self.unpruned_parameters)

    @cached_property
    def hash(self) -> str:
        """Fingerprint of everything in the checkpoint, weights and words."""
        digest = hashlib.sha256(self._words().encode())
        for name, array in sorted(storage.pack(self.state, self.masks).items()):
            digest.update(f"{name} {array.dtype} {array.shape}".encode())
            digest.update(array.tobytes())
        return digest.hexdigest()

    @cached_property
    def weights_hash(self) -> str:
        """Fingerprint of the weights alone."""
        digest = hashlib.sha256()
        note_weights(digest, sorted(self.state.items()))
        return digest.hexdigest()

    @property
    def int8(self) -> dict[str, tuple[float, float]]:
        """Range of what each layer reads, where it was prepared for whole numbers.

        Empty where it was not, and after anything has changed the weights.
        """
        about = self.provenance.get("int8")
        if not isinstance(about, Mapping) or about.get("weights") != self.weights_hash:
            return {}
        try:
            ranges = {
                str(n): (float(a), float(b)) for n, (a, b) in about["ranges"].items()
            }
        except (KeyError, TypeError, ValueError, AttributeError):
            return {}
        sound = all(-1e30 < low <= 0 <= high < 1e30 for low, high in ranges.values())
        return ranges if sound and ranges.keys() <= self._layers else {}

    @property
    def _layers(self) -> set[str]:
        return {name.removesuffix(".weight") for name in self.state}

    def file_bytes(self) -> int:
        """Exact size of the file, without writing it."""
        sizes = storage.packed_sizes(self.state, self.masks)
        return storage.file_size(sizes, self._words())

    def factor_for(self, scale: float | None) -> float:
        """Return how many pixels of an image are one pixel that the network sees.

        Parameters
        ----------
        scale
            nm per pixel of the image; None if unknown: as in training then.
        """
        return factor_at(scale, self.working_factor, self.pixel_size_nm)

    def build(self, device: torch.device | str = "cpu") -> Network:
        """Rebuild the network, in evaluation mode; its tensors are its own."""
        network = self._blank()
        own = network.state_dict()
        if own.keys() != self.state.keys():
            odd = sorted(own.keys() ^ self.state.keys())[0]
            raise TopiaryError(
                f"The weights do not belong to this {self.network}: {odd} is missing "
                "or not part of it."
            )
        state = {
            name: self._masked(name).to(device, own[name].dtype, copy=True)
            for name in own
        }
        network.load_state_dict(state, assign=True)
        tensors = [*network.parameters(), *network.buffers()]
        if any(tensor.is_meta for tensor in tensors):  # buffers that are not saved
            network = self._fresh()
            network.load_state_dict(state)
            network.to(device)
        return network.eval()

    def replaced(self, **changes: Any) -> Checkpoint:
        """Return a copy with some fields replaced."""
        return dataclasses.replace(self, **changes)

    def named(self, name: str) -> Checkpoint:
        """Return a copy that knows what the person calls it."""
        return self.replaced(provenance={**self.provenance, "name": name})

    def save(self, path: Path | str, *, overwrite: bool = False) -> None:
        """Write the file: beside first, then renamed, never half.

        Parameters
        ----------
        path
            Its name ends in `.safetensors`.
        overwrite
            Replace also what is no checkpoint; another checkpoint is replaced anyway.
        """
        check_replaced((Path(path),), overwrite=overwrite)
        arrays, text = storage.pack(self.state, self.masks), self._words()
        with writing(Path(path)) as beside:
            storage.write(beside, arrays, text)

    def _words(self) -> str:
        """All but the tensors, as it stands in the file."""
        names = {field.name for field in dataclasses.fields(self)}
        return metadata.encode(
            {name: getattr(self, name) for name in names - {"state", "masks"}}
        )

    def _masked(self, name: str) -> torch.Tensor:
        tensor, mask = self.state[name].detach(), self.masks.get(name)
        return tensor if mask is None else tensor.masked_fill(~mask, 0.0)

    def _blank(self) -> Network:
        """Build the structure only: shapes without memory."""
        with torch.device("meta"):
            return self._fresh()

    def _fresh(self) -> Network:
        return build_network(
            self.network,
            self.sizes,
            self.in_channels,
            len(self.task.classes),
            self.widths,
        )


def load_checkpoint(path: Path | str) -> Checkpoint:
    """Read a checkpoint. Nothing in the file is executed, everything is checked.

    Parameters
    ----------
    path
        A file that `Checkpoint.save` wrote.

    Raises
    ------
    TopiaryError
        With a sentence if the file is missing, damaged, from a newer version, or
        does not fit together.
    """
    path = Path(path)
    try:
        with storage.opened(path) as stored:
            fields = metadata.decode(stored.text)
            wanted = _structure(Checkpoint(state={}, **fields))
            state, masks = storage.unpack(stored.sizes, stored.read, wanted)
    except TopiaryError as error:
        raise TopiaryError(f"{path.name} cannot be used: {error}") from error
    return Checkpoint(state=state, masks=masks, **fields)


def _structure(checkpoint: Checkpoint) -> dict[str, torch.Tensor]:
    """Shapes of the tensors that a checkpoint needs, before any memory is taken."""
    try:
        return dict(checkpoint._blank().state_dict())
    except TopiaryError:
        raise
    except (ValueError, TypeError, RuntimeError, OverflowError) as error:
        raise TopiaryError(
            f"a {checkpoint.network} cannot be built from its description."
        ) from error
