"""SUPERB through s3prl: our nets as an upstream of its tasks."""
