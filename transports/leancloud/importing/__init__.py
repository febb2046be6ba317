"""What LeanCloud gives out of an app, conversations and messages, and how it is taken over here."""

from .files import ExportFile
from .taking import Importer, Report, Stopped

__all__ = ["ExportFile", "Importer", "Report", "Stopped"]
