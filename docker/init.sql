-- Run once, by the database container of the recipes, when its volume is empty.
CREATE EXTENSION IF NOT EXISTS vector;
