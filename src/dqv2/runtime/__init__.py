"""What every stage needs at run time, whatever it computes."""
