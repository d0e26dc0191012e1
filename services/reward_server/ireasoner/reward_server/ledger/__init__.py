"""The ledger: every scored group, kept in one folder per server."""
