"""Many channels at once: from files, folders and tables to one table and one page of plots."""

from analysis.sipm.batch.journal import BatchError
from analysis.sipm.batch.labels import Label, label_of
from analysis.sipm.batch.priors import priors_of
from analysis.sipm.batch.run import Progress, Settings, batch_steps, run_batch
from analysis.sipm.batch.sources import Item, Naming, find_items
from analysis.sipm.batch.tasks import Conditions

__all__ = [
    "BatchError",
    "Conditions",
    "Item",
    "Label",
    "Naming",
    "Progress",
    "Settings",
    "batch_steps",
    "find_items",
    "label_of",
    "priors_of",
    "run_batch",
]
