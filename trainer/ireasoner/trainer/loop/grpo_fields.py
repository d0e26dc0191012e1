"""Every field of TRL's `GRPOConfig`: which ones `[grpo]` can set, and why the others are refused.

A field is refused if the trainer sets it, if it would break a promise of the loop, or if the loop never reads it. A
field is never dropped silently. `tests/trainer/test_grpo_config.py` compares the lists with the installed TRL.
"""

from collections.abc import Mapping

_OF_THE_RUN = {
    "output_dir": "run_folder", "max_steps": "updates", "num_train_epochs": "updates", "seed": "seed",
    "data_seed": "seed", "num_generations": "group_size", "per_device_train_batch_size": "micro_batch_size",
    "gradient_accumulation_steps": "micro_batch_size", "temperature": "rollout.temperature",
    "max_completion_length": "rollout.solver_max_tokens", "beta": "kl.beta", "save_strategy": "save_every",
    "save_steps": "save_every", "save_total_limit": "keep_checkpoints", "resume_from_checkpoint": "resume",
    "disable_dropout": "lora.dropout", "reward_weights": "reward.function",
}  # fmt: skip
"""Fields that a setting of the trainer decides, with that setting."""

_FIXED = (
    "num_iterations", "steps_per_generation", "generation_batch_size", "top_p", "top_k", "min_p",
    "repetition_penalty", "generation_kwargs", "use_vllm", "use_transformers_continuous_batching",
    "use_transformers_paged", "use_liger_kernel", "logging_strategy", "logging_steps", "logging_first_step",
    "remove_unused_columns", "accelerator_config", "parallelism_config", "local_rank",
)  # fmt: skip
"""Fields that the trainer sets, and no setting changes."""

_BREAKS = {
    "save_only_model": "a checkpoint without the optimizer's state cannot be resumed",
    "save_on_each_node": "the first process writes each checkpoint, whole or not at all",
    "enable_jit_checkpoint": "it writes checkpoints that do not hold the state of the loop",
    "restore_callback_states_from_checkpoint": "a checkpoint of the loop holds all that a resumed run needs",
    "ignore_data_skip": "a resumed run continues at the image where it stopped",
    "sync_ref_model": "the KL reference is the base model, and never moves",
    "ref_model_mixup_alpha": "the KL reference is the base model, and never moves",
    "ref_model_sync_steps": "the KL reference is the base model, and never moves",
    "neftune_noise_alpha": "noise in the training forward pass would train another policy than the one that sampled",
    "chat_template_kwargs": "the prompt of the training forward pass would not be the rollout server's",
    "model_init_kwargs": "the trainer loads the base model itself",
    "trust_remote_code": "the trainer loads the base model itself",
    "optim_target_modules": "only adapters are trained; lora.target_modules names their layers",
    "router_aux_loss_coef": "the router of a mixture of experts is frozen, as all but the adapters is",
    "fsdp": "the launcher says whether the backbone is sharded: use configs/accelerate/fsdp-7b.yaml",
    "fsdp_config": "the launcher says whether the backbone is sharded: use configs/accelerate/fsdp-7b.yaml",
    "push_to_hub": "export the adapter with `ireasoner export`, and upload that folder",
    "hub_strategy": "export the adapter with `ireasoner export`, and upload that folder",
    "hub_always_push": "export the adapter with `ireasoner export`, and upload that folder",
    "hub_revision": "export the adapter with `ireasoner export`, and upload that folder",
    "hub_token": "settings.json would hold it; set HF_TOKEN",
}
"""Fields that would break a promise of the loop, with the promise."""

_NO_EVALUATION = (
    "do_eval", "eval_strategy", "eval_steps", "eval_delay", "eval_on_start", "eval_accumulation_steps",
    "eval_do_concat_batches", "eval_use_gather_object", "per_device_eval_batch_size", "num_generations_eval",
    "batch_eval_metrics", "include_for_metrics", "prediction_loss_only", "bf16_full_eval", "fp16_full_eval",
    "load_best_model_at_end", "metric_for_best_model", "greater_is_better", "do_predict",
)  # fmt: skip
"""Fields of an evaluation during training, which the loop does not have."""

_UNREAD = (
    "do_train", "label_names", "label_smoothing_factor", "train_sampling_strategy", "length_column_name",
    "include_num_input_tokens_seen", "dataloader_drop_last", "dataloader_num_workers", "dataloader_pin_memory",
    "dataloader_persistent_workers", "dataloader_prefetch_factor", "dataloader_multiprocessing_context",
    "dataloader_in_order", "liger_kernel_config", "ds3_gather_for_generation", "cache_implementation",
    "max_tool_calling_iterations", "transformers_continuous_batching_config", "vllm_mode", "vllm_model_impl",
    "vllm_enable_sleep_mode", "vllm_structured_outputs_regex", "vllm_server_base_url", "vllm_server_host",
    "vllm_server_port", "vllm_server_timeout", "vllm_group_port", "vllm_gpu_memory_utilization",
    "vllm_max_model_length", "vllm_tensor_parallel_size", "ddp_find_unused_parameters", "ddp_bucket_cap_mb",
    "ddp_broadcast_buffers", "ddp_static_graph",
)  # fmt: skip
"""Fields that the loop never reads: it has its own data, its own rollout server and its own loss function's inputs."""

REFUSED: Mapping[str, str] = {
    **{name: f"is set by the trainer: use {setting} instead" for name, setting in _OF_THE_RUN.items()},
    **dict.fromkeys(_FIXED, "is set by the trainer"),
    **{name: f"cannot be set: {promise}" for name, promise in _BREAKS.items()},
    **dict.fromkeys(_NO_EVALUATION, "has no effect: use `ireasoner evaluate`"),
    **dict.fromkeys(_UNREAD, "has no effect in this loop"),
}
"""Why a field is refused, by name."""

PASSED = frozenset(
    {
        "learning_rate", "lr_scheduler_type", "lr_scheduler_kwargs", "warmup_steps", "optim", "optim_args",
        "weight_decay", "adam_beta1", "adam_beta2", "adam_epsilon", "max_grad_norm", "average_tokens_across_devices",
        "bf16", "fp16", "tf32", "gradient_checkpointing", "gradient_checkpointing_kwargs", "torch_compile",
        "torch_compile_backend", "torch_compile_mode", "use_cache", "torch_empty_cache_steps", "auto_find_batch_size",
        "log_on_each_node", "logging_nan_inf_filter", "log_level", "log_level_replica", "disable_tqdm", "report_to",
        "run_name", "project", "trackio_space_id", "trackio_bucket_id", "trackio_static_space_id",
        "hub_private_repo", "hub_model_id", "full_determinism", "use_cpu", "ddp_backend", "ddp_timeout", "deepspeed",
        "debug", "skip_memory_metrics", "cast_lm_head_to_fp32", "shuffle_dataset",
        "pad_to_multiple_of", "epsilon", "delta", "epsilon_high", "sapo_temperature_neg", "sapo_temperature_pos",
        "vespo_k_pos", "vespo_lambda_pos", "vespo_k_neg", "vespo_lambda_neg", "importance_sampling_level",
        "multi_objective_aggregation", "scale_rewards", "loss_type", "mask_truncated_completions",
        "top_entropy_quantile", "entropy_coef", "use_adaptive_entropy", "entropy_coef_min", "entropy_coef_max",
        "entropy_coef_delta", "entropy_target", "vllm_importance_sampling_correction",
        "vllm_importance_sampling_mode", "vllm_importance_sampling_clip_max", "vllm_importance_sampling_clip_min",
        "vllm_importance_sampling_cap", "off_policy_mask_threshold", "use_bias_correction_kl", "log_completions",
        "log_multimodal", "num_completions_to_print", "log_unique_prompts", "log_completions_hub_repo",
    }
)  # fmt: skip
"""Fields that are passed on unchanged."""

CHOICES: Mapping[str, frozenset[object]] = {
    "loss_type": frozenset({"grpo", "bnpo", "dr_grpo", "dapo", "luspo", "cispo", "sapo", "vespo"}),
    "importance_sampling_level": frozenset({"token", "sequence"}),
    "scale_rewards": frozenset({"group", "batch", "none", True, False}),
    "multi_objective_aggregation": frozenset({"sum_then_normalize", "normalize_then_sum"}),
    "vllm_importance_sampling_mode": frozenset(
        {"token_truncate", "token_mask", "sequence_truncate", "sequence_mask"}
    ),
}
"""The values of fields that TRL checks in the middle of an update, or never."""

AT_LEAST_0 = frozenset(
    {
        "learning_rate", "weight_decay", "adam_epsilon", "max_grad_norm", "warmup_steps", "epsilon", "epsilon_high",
        "delta", "top_entropy_quantile", "sapo_temperature_neg", "sapo_temperature_pos",
        "vllm_importance_sampling_clip_max", "vllm_importance_sampling_clip_min", "vllm_importance_sampling_cap",
        "off_policy_mask_threshold", "ddp_timeout", "num_completions_to_print",
    }
)  # fmt: skip
"""Fields of which a negative value has no meaning."""

AT_MOST_1 = frozenset({"adam_beta1", "adam_beta2", "top_entropy_quantile"})
"""Fields of which a value above 1 has no meaning."""
