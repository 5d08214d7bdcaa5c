"""From the runs' metrics to the paper's figures and tables: collect, summarise, draw, write."""
