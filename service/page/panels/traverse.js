export function mount(root) { root.append("soon"); return { end() {} }; }
