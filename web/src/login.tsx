import { useState } from "preact/hooks";
import { login, Problem } from "./api";

/** A key for a session; the browser keeps what the server sets, and no script sees it. */
export function Login() {
  const [problem, setProblem] = useState("");
  const enter = async (event: SubmitEvent) => {
    event.preventDefault();
    const form = event.currentTarget as HTMLFormElement;
    const key = String(new FormData(form).get("key") ?? "").trim();
    try {
      await login(key);
      form.reset();
      // Read anew: what the page follows was refused until now, and would be asked for again some seconds later only.
      location.reload();
    } catch (error) {
      if (error instanceof Problem) setProblem(error.status === 401 ? "This key is not valid here." : error.message);
      else setProblem(String(error));
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
