"""Model repositories in OCI registries, which `push` and `pull` reach with the library oras."""
