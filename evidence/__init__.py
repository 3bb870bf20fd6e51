"""What was measured, and beside it the programs that measured it."""
