"""The programs of GradBench, each primal written once from its mathematical definition, and a tool that speaks
GradBench's protocol, so that its evals drive adjit and judge the answers."""
