"""Many fleets on the machines of a Ray cluster.

Shards host the fleets, each the ones that its number gives it; fronts, one on every node, take HTTP and pass it on to
the shards in batches. Ray places, finds and restarts both; the lease of each fleet in PostgreSQL says who may write.
"""
