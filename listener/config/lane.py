"""The settings of every table in `[sinks]`, whatever its kind."""

from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
    model_validator,
)

from listener.config.journal import ReplicaName
from listener.config.schema import did_you_mean
from listener.model.forms import DATA_FIELDS, FormName, problem_of
from listener.model.media import MediaType


def _plain_name(value: str) -> str:
    if not value or not all(c.isascii() and (c.isalnum() or c in "-_") for c in value):
        raise ValueError("a sink's name consists of letters, digits, - and _")
    return value


SinkName = Annotated[str, AfterValidator(_plain_name)]


def _hours_or_never(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    """One problem instead of one for each possible type."""
    try:
        return validate(value)
    except ValidationError:
        raise ValueError('should be a number of hours above 0, or "never"') from None


Horizon = Annotated[Annotated[float, Field(gt=0)] | Literal["never"] | None, WrapValidator(_hours_or_never)]


def _data_field(value: str) -> str:
    if value not in DATA_FIELDS:
        raise ValueError(f"there is no field {value!r} in data{did_you_mean(value, DATA_FIELDS)}")
    return value


DataField = Annotated[str, AfterValidator(_data_field)]


def _media_type(value: str) -> str:
    main, slash, rest = value.partition("/")
    if not main or not slash or not rest or not value.isprintable() or not value.isascii():
        raise ValueError('should be a media type, such as "text/plain; charset=utf-8"')
    return value


class LaneSettings(BaseModel):
    """The settings of every sink, whatever its kind; the remaining keys are the kind's own."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)

    type: str
    events: Literal["all", "changes"] = "all"
    gaps: bool = True
    accounts: tuple[str, ...] = ()
    media: tuple[MediaType, ...] = ()
    keys: tuple[str, ...] = ()
    changes: tuple[Literal["set", "changed", "unchanged", "cleared"], ...] = ()
    dispositions: tuple[str, ...] = ()
    fields: tuple[DataField, ...] | None = None
    format: FormName = "cloudevents"
    template_type: Annotated[str, AfterValidator(_media_type)] = "text/plain; charset=utf-8"
    template: str | None = None
    batch: int = Field(default=500, ge=1, le=10_000)
    retry_limit_s: float = Field(default=60.0, gt=0)
    retry_horizon_h: Horizon = None
    retry_event_after_h: Horizon = None
    park_after_refusals: int = Field(default=20, ge=0)
    on: ReplicaName | None = None

    @field_validator("template")
    @classmethod
    def _can_be_filled(cls, value: str | None, info: ValidationInfo) -> str | None:
        problem = problem_of(value, info.data.get("template_type", "")) if value is not None else None
        if problem is not None:
            raise ValueError(problem)
        return value

    @model_validator(mode="after")
    def _has_its_template(self) -> Self:
        if (self.format == "template") != (self.template is not None):
            raise ValueError('format = "template" and template = "…" go together')
        return self

    @property
    def options(self) -> dict[str, Any]:
        """The keys that belong to the kind."""
        return dict(self.model_extra or {})

    @property
    def shared_keys(self) -> tuple[str, ...]:
        """The keys that every kind has."""
        return tuple(LaneSettings.model_fields)
