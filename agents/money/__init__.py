"""Money: prices now; budgets and tiering grow here."""
