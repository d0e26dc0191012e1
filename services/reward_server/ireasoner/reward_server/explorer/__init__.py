"""The page that shows the ledger: hand-written ES modules and CSS, served as they are."""
