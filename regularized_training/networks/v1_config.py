"""Settings of a model of primary visual cortex in front of a network; imports no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from predictive_model.config import Config, Seed

Noise = Literal["own", "on", "fixed", "off"]  # for a while; see the module v1

PUBLISHED_WIDTH = 64  # of the networks that 256 simple and 256 complex cells stand before
LOWEST_FREQUENCY = 0.5  # cycles per degree, where the published histogram begins


class V1Config(Config):
    """The V1 block of Dapello et al. 2020, as published unless told otherwise.

    Attributes
    ----------
    field_of_view : float
        Degrees of visual angle that ``image_size`` pixels span.
    image_size : int
        Pixels. Images may be of any size; with ``field_of_view`` it says how many pixels a degree
        has.
    kernel : float
        Side of the Gabors in degrees: 25 pixels of 28 in a degree. It becomes an odd number of
        pixels.
    stride : int
        Pixels between neighbouring places; 4 for 224 pixels. Images of 32 and 64 pixels want 1 and
        2 before our residual networks.
    simple, complex : int
        Cells of each kind at each place, of a network of width 64; of other widths in proportion.
    max_frequency : float
        Cycles per degree; higher ones are not drawn, nor are those above half the pixels in a
        degree, which pixels cannot show.
    correlation : float
        Of the preferred frequency with the number of its cycles within the receptive field, both
        as ranks: -1 to 1.
    gain : float
        What responses are multiplied with.
    noise : {"on", "fixed", "training", "off"}
        When cells are noisy: in training and in evaluation, as published; likewise, but in
        evaluation by one draw for all images, which makes the network deterministic; in training
        alone; or never.
    noise_scale, noise_level : float
        Noise is added to scale * response + level, a mean number of spikes, whose variance it has.
    seed : int
        Decides all Gabors, and the draw of fixed noise.
    replaces : tuple of str, optional
        Modules of the network that the block stands in for, from the image on; known of ours and of
        torchvision's residual networks and AlexNet.
    """

    field_of_view: float = Field(default=8.0, gt=0, le=180)
    image_size: int = Field(default=224, ge=1)
    kernel: float = Field(default=0.9, gt=0)
    stride: int = Field(default=4, ge=1)
    simple: int = Field(default=256, ge=0)
    complex: int = Field(default=256, ge=0)
    max_frequency: float = Field(default=9.0, gt=LOWEST_FREQUENCY)
    correlation: float = Field(default=0.75, ge=-1, le=1)
    gain: float = Field(default=25.0, gt=0)
    noise: Literal["on", "fixed", "training", "off"] = "on"
    noise_scale: float = Field(default=0.35, gt=0)
    noise_level: float = Field(default=0.07, ge=0)
    seed: Seed = 0
    replaces: tuple[str, ...] | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _check(self) -> V1Config:
        if self.simple + self.complex == 0:
            raise ValueError("simple, complex: 0, expected cells of at least one kind")
        if self.pixels_per_degree / 2 <= LOWEST_FREQUENCY:
            raise ValueError(
                f"field_of_view: {self.field_of_view:g} degrees of {self.image_size} pixels show "
                f"no more than {self.pixels_per_degree / 2:.2g} cycles per degree, expected more "
                f"than {LOWEST_FREQUENCY:g}, where the published frequencies begin; lower it"
            )
        return self

    def __str__(self) -> str:
        """As results call it: with the settings that are not as published."""
        chosen = (
            f"{name.replace('_', ' ')} {value}"
            for name, value in self.model_dump(mode="json").items()
            if name != "replaces" and value != type(self).model_fields[name].default
        )
        return ", ".join(["V1 block", *chosen])

    @property
    def pixels_per_degree(self) -> float:
        """28 as published."""
        return self.image_size / self.field_of_view

    @property
    def kernel_size(self) -> int:
        """Side of the Gabors: the odd number of pixels closest to `kernel` degrees."""
        return 2 * max(0, round((self.kernel * self.pixels_per_degree - 1) / 2)) + 1

    @property
    def highest_frequency(self) -> float:
        """Cycles per degree: ``max_frequency``, or what pixels can show if that is less."""
        return min(self.max_frequency, self.pixels_per_degree / 2)

    def cells(self, width: int) -> tuple[int, int]:
        """Simple and complex cells before a network of some width; at least one of each wanted."""
        return tuple(  # type: ignore[return-value]
            max(1, round(n * width / PUBLISHED_WIDTH)) if n else 0
            for n in (self.simple, self.complex)
        )
