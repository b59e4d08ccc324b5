// json-server without its own command, which asks the internet for a newer version of itself.
// json_server.js PORT FILE: serves the lists of the JSON file, each at its name.
const server = require("json-server");

const [port, file] = process.argv.slice(2);
const app = server.create();
app.use(server.defaults({ logger: false, noCors: true }));
app.use(server.router(file));
app.listen(Number(port), "127.0.0.1");
