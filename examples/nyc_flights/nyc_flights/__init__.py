"""All flights that left New York in 2013: raw tables, days, and reports over them."""
