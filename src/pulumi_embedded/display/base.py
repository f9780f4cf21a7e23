"""The base class of the displays: it calls the method of each event's kind."""

from __future__ import annotations

from pulumi_embedded.model.events import (
    Diagnostic,
    Event,
    Prelude,
    Status,
    StepEnded,
    StepFailed,
    StepStarted,
    StepView,
    Summary,
    SystemMessage,
)

__all__ = ["Display"]


class Display:
    """Takes the events of one operation. A subclass overrides the methods of the events that it shows."""

    def __call__(self, event: Event) -> None:
        """Take one event. The summary is the last."""
        match event:
            case Prelude():
                self._prelude(event)
            case StepStarted(step):
                self._started(step)
            case StepEnded(step):
                self._ended(step)
            case StepFailed(step, status):
                self._failed(step, status)
            case Diagnostic():
                self._diagnostic(event)
            case SystemMessage(text):
                self._system(text)
            case Summary():
                self._summary(event)

    def _prelude(self, event: Prelude) -> None:
        pass

    def _started(self, view: StepView) -> None:
        pass

    def _ended(self, view: StepView) -> None:
        pass

    def _failed(self, view: StepView, status: Status) -> None:
        pass

    def _diagnostic(self, event: Diagnostic) -> None:
        pass

    def _system(self, text: str) -> None:
        pass

    def _summary(self, event: Summary) -> None:
        pass
