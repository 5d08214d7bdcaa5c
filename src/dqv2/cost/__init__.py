"""The cost of a run before it runs (`dqv2 plan --cost`), and the floating-point operations of its methods' networks."""
