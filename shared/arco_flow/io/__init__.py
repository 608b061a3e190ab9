"""How an asset's value becomes an immutable version, and how a version becomes a value again."""
