"""Which items to keep: GraphCut bins, similarity, sampling from bins."""
