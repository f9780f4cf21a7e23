// Standard input: a list of diagrams as JSON. Standard output: of each what Mermaid's parser read, or its error.
import { readFileSync } from "node:fs";

const { default: mermaid } = await import(process.argv[2]);

async function parsed(text) {
  try {
    await mermaid.parse(text);
    const { db } = await mermaid.mermaidAPI.getDiagramFromText(text);
    const tables = [...db.getEntities().values()].map(({ alias, attributes, cssClasses }) => ({
      alias,
      marks: cssClasses,
      columns: attributes.map(({ type, name, keys, comment }) => [type, name, keys, comment]),
    }));
    return { tables, keys: db.getRelationships().map(({ roleA }) => roleA) };
  } catch (error) {
    return { error: String(error.message) };
  }
}

const found = [];
for (const text of JSON.parse(readFileSync(0, "utf8"))) {
  found.push(await parsed(text));
}
process.stdout.write(JSON.stringify(found));
