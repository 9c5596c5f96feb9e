// A worker that imports a library in parts is a module.
export default { worker: { format: "es" } };
