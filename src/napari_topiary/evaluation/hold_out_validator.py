"""How good a network is on what training held back: the same areas, the same figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import Device
from napari_topiary.data.prepared import Material
from napari_topiary.evaluation.quality import Quality
from napari_topiary.evaluation.validate import judging_material, validate
from napari_topiary.inference.suitability import working_factor_for
from napari_topiary.io.dataset import Sample
from napari_topiary.networks.base import Network
from napari_topiary.types import Job, Stop, relay


@dataclass(frozen=True)
class Judged:
    """A network's quality, or why there is none.

    Parameters
    ----------
    quality
        At the network's own best threshold; None where nothing is held back.
    held_out
        What it was judged on, in words.
    stopped
        Whether judging was given up.
    """

    quality: Quality | None = None
    held_out: str = ""
    stopped: bool = False


class HoldOut:
    """The areas to judge on, brought to a network's working grid once.

    Parameters
    ----------
    samples
        Annotated images that training learns from; where no others are held back, the
        same part of them is as in training.
    validation
        Annotated images that training does not see.
    device
        Where to compute.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        validation: Sequence[Sample],
        *,
        device: Device = "auto",
    ) -> None:
        self.samples, self.validation = tuple(samples), tuple(validation)
        self.device = device
        self._grids: dict[str, Material] = {}

    def judge(
        self, checkpoint: Checkpoint, network: Network | None = None
    ) -> Job[Judged]:
        """Judge a checkpoint as it is, or a network that may become a version of it.

        Parameters
        ----------
        checkpoint
            Task, normalisation and working pixel size.
        network
            Judged at the thresholds that it would be kept with; None = the checkpoint's
            own network, at the checkpoint's own thresholds.

        Yields
        ------
        Progress
            After every area; a `Stop` sent in gives up.
        """
        material = self._material(checkpoint)
        if material is None or not material.held:
            return Judged()
        heard: list[object] = []
        found = yield from relay(
            validate(
                checkpoint,
                material,
                device=self.device,
                network=network,
                find=network is not None,
            ),
            heard=heard.append,
        )
        if Stop in heard:
            return Judged(stopped=True)
        quality = None if found is None else found[1]
        if quality is not None and not quality.known:
            quality = None
        return Judged(quality, material.held_names)

    def _material(self, checkpoint: Checkpoint) -> Material | None:
        every = self.validation or self.samples
        if not every:
            return None
        factor, _ = working_factor_for(checkpoint, every[0].scale)
        about = checkpoint.annotations_summary
        own = (about.get("learned"), about.get("held_out"))
        key = repr((round(factor, 6), checkpoint.normalisation, checkpoint.task, own))
        if key not in self._grids:
            self._grids[key] = judging_material(
                checkpoint, self.samples, self.validation
            )
        return self._grids[key]
