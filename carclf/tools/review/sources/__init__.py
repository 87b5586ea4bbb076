"""What can be reviewed: an audit, a predict result, a run's or an evaluation's answers, clusters, labelled photos."""
