"""The rewards' formulas: arrays in, arrays out."""
