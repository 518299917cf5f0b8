// Record names as a tree: segments between `::`, `.`, `/` and `:`.

const SEGMENT = /.*?(?:::|[./:]|$)/gys;

/** The segments of a name, each with the separator behind it. */
export function segments(name) {
  return name.match(SEGMENT).filter(Boolean);
}

/** Records that the program keeps for itself: how far forwarding came. They lie in the year 9999. */
export const isOwn = (name) => name.startsWith('annals.forward.');

/** A tree of records. A node: {name, path, children: Map, record?, size}. */
export function tree(records) {
  const root = { name: '', path: '', children: new Map(), size: 0 };
  for (const record of records) {
    let node = root;
    node.size += 1;
    for (const segment of segments(record.record)) {
      let child = node.children.get(segment);
      if (!child) {
        child = { name: segment, path: node.path + segment, children: new Map(), size: 0 };
        node.children.set(segment, child);
      }
      node = child;
      node.size += 1;
    }
    node.record = record;
  }
  return root;
}

/** The rows to show: {node, level, label}. A node with one child is shown with it in one row. */
export function rows(root, isOpen) {
  const all = [];
  const visit = (node, level) => {
    for (let child of node.children.values()) {
      let label = child.name;
      while (!child.record && child.children.size === 1) {
        [child] = child.children.values();
        label += child.name;
      }
      all.push({ node: child, level, label });
      if (child.children.size > 0 && isOpen(child)) visit(child, level + 1);
    }
  };
  visit(root, 1);
  return all;
}
