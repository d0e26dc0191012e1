"""An exchange with an endpoint, as the OpenAPI document shows it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Example:
    """One exchange with an endpoint.

    Attributes:
        response: The JSON of the response, or its text.
        request: The JSON of the body, if the endpoint takes one.
        parameters: Values of parameters in the path and the query, by name.
        media_type: Of the response.
    """

    response: Any
    request: Json | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    media_type: str = "application/json"

    def add_to(self, operation: Json) -> None:
        """Writes the example into an operation of an OpenAPI document."""
        operation["responses"]["200"]["content"][self.media_type]["example"] = self.response
        if self.request is not None:
            operation["requestBody"]["content"]["application/json"]["example"] = self.request
        for parameter in operation.get("parameters", ()):
            if parameter["name"] in self.parameters:
                parameter["example"] = self.parameters[parameter["name"]]
