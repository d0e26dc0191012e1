"""The HTML report of a run folder, or of two: one self-contained file, without network access or JavaScript.

page        write_report: reads the run folder once and fills the template
comparison  write_comparison: the same for two run folders side by side
template    what both pages share
metrics     metrics.jsonl as columns
group_index groups.jsonl, streamed: which questions were asked, and where the groups worth showing are
samples     the groups that are shown in full
outcome     evaluation.json: accuracy before and after
timing      time spent in each phase
plots       which curves belong to which plot, and what each plot shows
drawing     curves, bars and intervals as SVG, in the colours of the page
"""

from ireasoner.trainer.report.comparison import write_comparison
from ireasoner.trainer.report.page import write_report

__all__ = ["write_comparison", "write_report"]
