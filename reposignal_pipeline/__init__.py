"""RepoSignal: star histories turned into signal."""
