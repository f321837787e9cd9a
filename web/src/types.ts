/** What the server answers, in edge units: whole tokens, seconds, and dollars as exact text. */

export interface Amounts {
  tokens?: number;
  time_seconds?: number;
  cost_usd?: string;
}

export interface Burn {
  window_seconds: number;
  tokens_per_hour: number;
  cost_usd_per_hour: string;
  empty_in_seconds: number | null;
  empty_first: string | null;
  dimension: string | null;
}

export interface Agent {
  agent: string;
  agent_type: string | null;
  product: string | null;
  priority: string;
  parent: string | null;
  state: string;
  allocated: Amounts;
  consumed: Amounts;
  held: Amounts;
  borrowed: Amounts;
  remaining: Amounts;
  percentage: number;
  status: Level;
  action: string | null;
  decided_by: string | null;
  throttle_rate: number | null;
  idle_seconds: number | null;
  opened_at: string | null;
  last_report_at: string | null;
  released_at: string | null;
  reports: number;
  obstacles?: { code: string; detail: string }[] | null;
  burn: Burn | null;
  depth: number;
  children: number;
  /** The account is the total of another fleet. */
  child?: { fleet: string | null };
}

export type Level = "green" | "yellow" | "orange" | "red" | "black";

export interface Window {
  position: number;
  agents: number;
  rows: number;
  after: number;
  shown: Agent[];
}

export interface Gauge {
  used: number | string;
  limit: number | string | null;
  percent: number | null;
  alert: boolean;
}

export interface Estimate {
  used: number | string;
  expected: number | string | null;
  low: number | string | null;
  high: number | string | null;
}

export interface Prediction {
  dimension: string;
  predicted: number;
  low: number;
  high: number;
  confidence: number | null;
  method: string;
}

export interface Queued {
  task: string;
  agent_type: string;
  product: string;
  priority: string;
  waiting_minutes: number;
  score: number;
  terms: { priority: number; wait: number; blocking: number };
  aged: boolean;
  reason: { code: string; message: string } | null;
  expected_start: string | null;
}

export interface Running {
  task: string;
  agent_type: string;
  product: string;
  model: string | null;
  started_at: string;
  lease_expires_at: string | null;
  stopping: boolean;
}

export interface Limit {
  limit: string;
  value: string | null;
  window: string;
  then: string;
  max: Record<string, number | string>;
  used: Record<string, number | string>;
  left: Record<string, number | string>;
  percentage: number;
  ends_at?: string;
}

export interface Alert {
  position: number;
  at: string;
  code: string;
  message: string;
  agent: string | null;
}

export interface Happened {
  position: number;
  at: string;
  by: string;
  type: string;
  text: string;
  news?: boolean;
  about?: string | null;
  event?: Record<string, unknown>;
}

export interface Page {
  position: number;
  at: string;
  now: string;
  end: number;
  status: {
    total: Amounts;
    total_allocated: Amounts;
    total_consumed: Amounts;
    pool_available: Amounts;
    reserve: Amounts;
    overdraft: Amounts;
    pressure: number;
    response: string;
    paused: boolean;
    agent_count: number;
    agents_by_level: Record<Level, number>;
    agents_released: number;
    alerts: number;
    breaker: string | null;
    tasks_running: number;
    tasks_waiting: number;
    burn: Burn;
    delegation?: { account: string; stopped?: string };
  };
  /** The addresses of the fleet whose account the total is, if it is one. */
  parent: string[];
  dashboard: {
    date: string;
    active: number;
    slots: number | null;
    percent_active: number | null;
    waiting: number;
    avg_wait_minutes: number | null;
    tokens: Gauge;
    cost: Gauge;
    projected_eod: number | null;
    models: { model: string; tasks: number; critical: boolean; cost_usd: string }[];
    products: { product: string | null; tokens: number; percent: number }[];
  };
  month: { month: string; planned_usd: string | null; actual_usd: string };
  day: {
    begins_at: string | null;
    ends_at: string | null;
    tokens: number[];
    cost_usd: number[];
    minutes: { at: string; tokens: number; cost_usd: number }[];
  };
  forecast: {
    agents: { agent: string; steps: number; predictions: Prediction[] }[];
    open: number;
    finished: number;
    together: Record<string, Estimate>;
    day: Record<string, Estimate>;
  };
  queue: { tasks: Queued[]; running: Running[] };
  limits: { limits: Limit[]; counters: number };
  alerts: Alert[];
  products: string[];
  events: Happened[];
}

/** Which events stand behind a number. */
export interface Behind {
  title: string;
  asked: Record<string, string | string[]>;
  agent?: string;
}
