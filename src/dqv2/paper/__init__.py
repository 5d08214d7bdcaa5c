"""From the runs' metrics to the paper's figures and tables: collecting, summarising, drawing, writing."""
