"""f = (x + y)² + 2xy at (2, -4) as a graph: values in its nodes, partial derivatives on its edges.

The graph is the program as adjit traced it: one node for each operation, named as in the source where the source
names it. Forwards, the derivative of each node by x and by y comes from those of its operands, times the partial
derivatives on the edges. Backwards, the derivative of f by each node goes to its operands, times the same: one walk
for all inputs. The same formula in one line and over several lines.
"""

from pathlib import Path

from adjit import grad, jit, value_and_grad

OPERATIONS = {
    "add": lambda a, b: a + b,
    "mul": lambda a, b: a * b,
    "pow": lambda a, b: a**b,
}
SIGNS = {"add": "+", "mul": "·", "pow": "^"}


def in_one_line(x, y):
    return (x + y) ** 2 + 2 * x * y


def with_intermediate_names(x, y):
    total = x + y
    square = total**2
    product = x * y
    twice = 2 * product
    f = square + twice
    return f


def graph_of(f, *point):
    """(nodes, edges): label, value and depth of each node; (from, to, partial derivative). The last node is f."""
    program = jit(f).compile(*point).ir_function("traced")
    nodes, edges, number = [], [], {}
    for argument, value in zip(program.args, point):
        number[argument] = len(nodes)
        nodes.append((argument.name, value, 0))
    for op in program.body.ops[:-1]:
        operands = [nodes[number[v]][1] if v in number else v.value for v in op.operands]
        depth = 1 + max(nodes[number[v]][2] for v in op.operands if v in number)
        for k, v in enumerate(op.operands):
            if v in number:
                edges.append((number[v], len(nodes), grad(OPERATIONS[op.name], argnums=k)(*operands)))
        constants = "".join(f"{v.value:g}" for v in op.operands if v not in number)
        label = op.result.name or f"{SIGNS[op.name]}{constants}"
        number[op.result] = len(nodes)
        nodes.append((label, OPERATIONS[op.name](*operands), depth))
    return nodes, edges


def forwards(nodes, edges, source):
    """The derivative of every node by the node `source`."""
    tangent = [float(k == source) for k in range(len(nodes))]
    for start, end, partial in edges:
        tangent[end] += partial * tangent[start]
    return tangent


def backwards(nodes, edges):
    """The derivative of the last node by every node."""
    adjoint = [float(k == len(nodes) - 1) for k in range(len(nodes))]
    for start, end, partial in reversed(edges):
        adjoint[start] += partial * adjoint[end]
    return adjoint


def draw(path, nodes, edges):
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return print("no picture: matplotlib is not installed")
    by_x, by_y, adjoint = forwards(nodes, edges, 0), forwards(nodes, edges, 1), backwards(nodes, edges)
    captions = {
        "forwards": [f"d/dx = {a:g}, d/dy = {b:g}" for a, b in zip(by_x, by_y)],
        "backwards": [f"df/d· = {a:g}" for a in adjoint],
    }
    at, rows = [], {}
    for _, _, depth in nodes:
        at.append((rows.setdefault(depth, 0) * 1.6 + 0.35 * (depth % 2), 1.3 * depth))
        rows[depth] += 1
    figure = Figure(figsize=(11, 6), layout="constrained")
    for axes, (title, caption) in zip(figure.subplots(1, 2), captions.items()):
        for start, end, partial in edges:
            (x0, y0), (x1, y1) = at[start], at[end]
            ends = ((x1, y1), (x0, y0)) if title == "forwards" else ((x0, y0), (x1, y1))
            axes.annotate("", *ends, arrowprops={"arrowstyle": "-|>", "color": "0.5", "shrinkA": 28, "shrinkB": 28})
            axes.text(0.6 * x0 + 0.4 * x1, 0.6 * y0 + 0.4 * y1, f"{partial:g}", color="tab:red", ha="center")
        for (x, y), (label, value, _), text in zip(at, nodes, caption):
            box = {"boxstyle": "round", "facecolor": "white", "edgecolor": "0.2"}
            axes.text(x, y, f"{label} = {value:g}\n{text}", ha="center", va="center", fontsize=8, bbox=box)
        axes.set_xlim(-0.7, 2.8)
        axes.set_ylim(-0.6, 1.3 * nodes[-1][2] + 0.6)
        axes.set_title(title)
        axes.set_axis_off()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    print("drawn in", path)


def main(out=Path("out/textbook")):
    results = {}
    for f in (in_one_line, with_intermediate_names):
        value, (by_x, by_y) = value_and_grad(f, argnums=(0, 1))(2.0, -4.0)
        print(f"{f.__name__}: f = {value}, df/dx = {by_x}, df/dy = {by_y}")
        nodes, edges = graph_of(f, 2.0, -4.0)
        adjoint = backwards(nodes, edges)
        for (label, number, _), a in zip(nodes, adjoint):
            print(f"  {label:>8} = {number:6g}   df/d({label}) = {a:g}")
        draw(Path(out) / f"d_graph_{f.__name__}.png", nodes, edges)
        results[f.__name__] = nodes, edges
    return results


if __name__ == "__main__":
    main()
