"""Runs stories.gguf in llama.cpp: compares greedy text with golden.json, then talks.

    python check.py stories.gguf golden.json prompts.json     (needs llama-cpp-python)

prompts.json is a list of conversations, each a list of user turns.
"""
import json
import sys

import llama_cpp


def main():
    gguf, golden = sys.argv[1:3]
    m = llama_cpp.Llama(gguf, n_ctx=1024, n_threads=1, logits_all=True, verbose=False)
    g = json.load(open(golden))
    for case in g["tokenizer"] + g["prompts"]:
        got = m.tokenize(case["text"].encode(), add_bos=False, special=True) if case["text"] else []
        print("tokens", "equal" if got == case["ids"] else f"DIFFER {case['text']!r} {got} {case['ids']}")
    for p in g["prompts"]:
        m.reset()
        m.eval(p["ids"])
        diff = max(abs(a - b) for a, b in zip(m.scores[len(p["ids"]) - 1].tolist(), p["last_logits"]))
        out = []
        for want, margin in zip(p["greedy_ids"], p["greedy_margin"]):
            t = int(m.scores[m.n_tokens - 1].argmax())
            out.append(t)
            if t != want:
                print(f"  differs at {len(out) - 1}, margin there {margin}")
                break
            m.eval([t])
        print(f"largest difference of the last logits {diff:.4f}, greedy tokens equal: {len(out)} of {len(p['greedy_ids'])}")
    if len(sys.argv) < 4:
        return
    for conv in json.load(open(sys.argv[3])):
        messages = []
        for u in conv:
            messages.append({"role": "user", "content": u})
            r = m.create_chat_completion(messages=messages, temperature=0.7, top_k=40, top_p=0.95, max_tokens=400, seed=1, repeat_penalty=1.0)["choices"][0]
            messages.append(r["message"])
            print(f">>> {u}\n{r['message']['content']}" + ("" if r["finish_reason"] == "stop" else f" [{r['finish_reason']}]") + "\n")
        print("=" * 20)


main()
