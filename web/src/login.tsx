import { useState } from "preact/hooks";
import { login, Problem } from "./api";

/** A key for a session; the browser keeps what the server sets, and no script sees it. */
export function Login({ refresh }: { refresh: () => void }) {
  const [problem, setProblem] = useState("");
  const enter = async (event: SubmitEvent) => {
    event.preventDefault();
    const form = event.currentTarget as HTMLFormElement;
    const key = String(new FormData(form).get("key") ?? "").trim();
    try {
      await login(key);
      form.reset();
      refresh();
    } catch (error) {
      setProblem(error instanceof Problem ? error.message : String(error));
    }
  };
  return (
    <main class="login">
      <form onSubmit={(event) => void enter(event)}>
        <h1>
          <img src="icon.svg" alt="" width="28" height="28" /> tallystick
        </h1>
        <label>
          Key
          <input name="key" type="password" autoComplete="current-password" required />
        </label>
        {problem && (
          <p class="problem" role="alert">
            {problem}
          </p>
        )}
        <button class="primary">Log in</button>
        <p class="muted">
          <code>tallystick key create</code> makes one.
        </p>
      </form>
    </main>
  );
}
