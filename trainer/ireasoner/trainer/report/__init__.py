"""The HTML report of a run folder, or of two: one file that needs nothing else, no network and no JavaScript.

settings    ReportSettings, the flags of `ireasoner report`
page        write_report: reads the run folder once, fills the template
comparison  write_comparison: the same for two run folders side by side
template    what the pages share
metrics     metrics.jsonl as columns
group_index groups.jsonl, streamed: what was asked, and where the interesting groups lie
samples     the groups that are shown in full
outcome     evaluation.json: accuracy before and after
timing      where the time goes
plots       which curves stand in which plot, and what each one tells
drawing     curves, bars and intervals as SVG, in the colours of the page
"""

from ireasoner.trainer.report.comparison import write_comparison
from ireasoner.trainer.report.page import write_report
from ireasoner.trainer.report.settings import ReportSettings

__all__ = ["ReportSettings", "write_comparison", "write_report"]
