// OpenAI's chat completions by a small real model on the processor: node chat_server.mjs PACKAGES MODEL.gguf
//
// One request after another is answered by the likeliest token each time, so that a second run answers the same. A JSON
// Schema in the request becomes a grammar, which the answer cannot leave but by its end: at `max_completion_tokens` it is
// cut off. The first line of stdout is the port, each further one the exchange of a request. The end of stdin ends it.
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { basename } from "node:path";
import { pathToFileURL } from "node:url";

const [packages, file] = process.argv.slice(2);
const { getLlama, ChatMLChatWrapper, LlamaChat } = await import(
  pathToFileURL(createRequire(`${packages}/`).resolve("node-llama-cpp"))
);
const CONTEXT = 8192;
const NAME = basename(file, ".gguf");

// Two threads that wait for each other on a busy machine take ten times as long as one.
const llama = await getLlama({ gpu: false, build: "never", progressLogs: false, logLevel: "error", maxThreads: 1 });
const model = await llama.loadModel({ modelPath: file });
const context = await model.createContext({ contextSize: CONTEXT, sequences: 1, threads: 1 });
const sequence = context.getSequence();
const chatWrapper = new ChatMLChatWrapper();
const chat = new LlamaChat({ contextSequence: sequence, chatWrapper });

class Refused extends Error {}

// The grammar's own dialect of JSON Schema says `oneOf` for `anyOf`.
function grammarSchema(schema) {
  if (Array.isArray(schema)) return schema.map(grammarSchema);
  if (schema === null || typeof schema !== "object") return schema;
  return Object.fromEntries(
    Object.entries(schema).map(([key, value]) => [key === "anyOf" ? "oneOf" : key, grammarSchema(value)]),
  );
}

async function grammarOf(format) {
  if (format === undefined || format.type === "text") return undefined;
  if (format.type === "json_object") return await llama.getGrammarFor("json");
  if (format.type !== "json_schema") throw new Refused(`response_format: no type ${format.type}`);
  return await llama.createGrammarForJsonSchema(grammarSchema(format.json_schema.schema));
}

function textOf(content) {
  if (typeof content === "string") return content;
  const other = content.find((part) => part.type !== "text");
  if (other) throw new Refused(`messages: this model reads no ${other.type}`);
  return content.map((part) => part.text).join("");
}

function historyOf(messages) {
  return messages.map(({ role, content }) => {
    if (role === "assistant") return { type: "model", response: [textOf(content)] };
    if (role === "system" || role === "user") return { type: role, text: textOf(content) };
    throw new Refused(`messages: no role ${role}`);
  });
}

async function complete({ messages, response_format, max_completion_tokens, max_tokens }) {
  const history = [...historyOf(messages), { type: "model", response: [] }];
  const { contextText } = chatWrapper.generateContextState({ chatHistory: history });
  const prompt = contextText.tokenize(model.tokenizer).length;
  const room = CONTEXT - prompt - 16;
  if (room < 1) throw new Refused(`the maximum context length is ${CONTEXT} tokens, and the messages have ${prompt}`);
  const grammar = await grammarOf(response_format);
  const before = sequence.tokenMeter.getState();
  const { response, metadata } = await chat.generateResponse(history, {
    grammar,
    maxTokens: Math.min(max_completion_tokens ?? max_tokens ?? room, room),
    temperature: 0,
    repeatPenalty: false,
  });
  const written = sequence.tokenMeter.diff(before).usedOutputTokens;
  return {
    object: "chat.completion",
    model: NAME,
    choices: [
      {
        index: 0,
        message: { role: "assistant", content: response },
        finish_reason: metadata.stopReason === "maxTokens" ? "length" : "stop",
      },
    ],
    usage: { prompt_tokens: prompt, completion_tokens: written, total_tokens: prompt + written },
  };
}

let last = Promise.resolve();

async function reply(path, body) {
  if (path === "GET /v1/models") return [200, { object: "list", data: [{ id: NAME, object: "model" }] }];
  if (path !== "POST /v1/chat/completions") return [404, { error: { message: `nothing at ${path}` } }];
  try {
    const request = JSON.parse(body);
    const turn = last.then(() => complete(request));
    last = turn.catch(() => undefined);
    const answer = await turn;
    process.stdout.write(`${JSON.stringify({ request, answer })}\n`);
    return [200, answer];
  } catch (error) {
    const status = error instanceof Refused || error instanceof SyntaxError ? 400 : 500;
    return [status, { error: { message: error.message } }];
  }
}

const server = createServer(async (request, response) => {
  const pieces = [];
  for await (const piece of request) pieces.push(piece);
  const [status, value] = await reply(`${request.method} ${request.url}`, Buffer.concat(pieces).toString());
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(value));
});
server.listen(0, "127.0.0.1", () => process.stdout.write(`${server.address().port}\n`));
process.stdin.on("end", () => process.exit(0)).resume();
