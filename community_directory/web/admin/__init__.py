"""The admin panel: Piccolo Admin, adapted to the community's tables and rules."""
