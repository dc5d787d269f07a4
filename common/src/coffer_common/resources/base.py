"""What all our resources share: metadata, conditions, the strictness of the models."""

from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from pydantic.config import JsonDict

QUANTITY: Final = r"^[0-9]+(\.[0-9]+)?(Ki|Mi|Gi|Ti|Pi|Ei|k|M|G|T|P|E)?$"
DATE_TIME: Final[JsonDict] = {"format": "date-time"}  # RFC 3339, checked by the API server
MAX_OBJECT_NAME: Final = 253  # of Kubernetes


def cel(*rules: tuple[str, str] | tuple[str, str, str]) -> JsonDict:
    """CEL rules, each with its message, in the form of `Field(json_schema_extra=…)`.

    A third text is the CEL expression of what is at fault; the message then ends with it.
    """
    return {"x-kubernetes-validations": [_rule(*rule) for rule in rules]}


def _rule(rule: str, message: str, culprit: str = "") -> JsonDict:
    result: JsonDict = {"rule": rule, "message": message}
    if culprit:
        result["messageExpression"] = f"'{message}: ' + {culprit}"
    return result


def immutable(field: str) -> JsonDict:
    """The rule that a required field keeps its value."""
    return cel(("self == oldSelf", f"{field} cannot change"))


def unchanged(field: str, unset: str | None = None) -> tuple[str, str]:
    """The rule of a spec that an optional field of it keeps its value, and its absence.

    A rule of the field itself is not asked where the field comes or goes. `unset` is the CEL
    literal that stands for its absence; without it, absence is a value of its own.
    """
    same = f"has(self.{field}) == has(oldSelf.{field}) && "
    same += f"(!has(self.{field}) || self.{field} == oldSelf.{field})"
    if unset is not None:
        values = [f"(has({s}.{field}) ? {s}.{field} : {unset})" for s in ("self", "oldSelf")]
        same = " == ".join(values)
    return same, f"spec.{field} cannot change"


class Resource(BaseModel):
    """Base of every part of a spec or status: camelCase outside, snake_case inside."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True
    )


class Metadata(Resource):
    """The part of Kubernetes metadata that Coffer reads."""

    name: str
    namespace: str | None = None
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    owner_references: tuple[dict[str, Any], ...] = ()
    finalizers: tuple[str, ...] = ()


class Condition(Resource):
    """One fact about the object, with the meaning of Kubernetes' own conditions."""

    type: Annotated[str, Field(description="What the condition is about.", max_length=64)]
    status: Annotated[
        str,
        Field(
            description="Whether it is so.",
            json_schema_extra={"enum": ["True", "False", "Unknown"]},
        ),
    ]
    reason: Annotated[str, Field(description="Why, as one CamelCase word.", max_length=128)]
    message: Annotated[
        str, Field(description="Why, and what to do, as one line.", max_length=4096)
    ] = ""
    observed_generation: Annotated[
        int | None, Field(description="Generation of the spec that the condition speaks of.")
    ] = None
    last_transition_time: Annotated[
        str, Field(description="When status last changed.", json_schema_extra=DATE_TIME)
    ] = ""


CONDITION_LIST: Final[JsonDict] = {
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["type"],
}
