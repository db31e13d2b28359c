(module
  ;; The tool as an Extism plugin: {"text": "..."} comes in, the counts go out. count.c has the same steps.
  (import "extism:host/env" "input_length" (func $input_length (result i64)))
  (import "extism:host/env" "input_load_u8" (func $input_load_u8 (param i64) (result i32)))
  (import "extism:host/env" "input_load_u64" (func $input_load_u64 (param i64) (result i64)))
  (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
  (import "extism:host/env" "store_u8" (func $store_u8 (param i64 i32)))
  (import "extism:host/env" "output_set" (func $output_set (param i64 i64)))

  (memory 1)
  (data (i32.const 0) "{\"lines\":,\"words\":,\"bytes\":}")

  (global $lines (mut i64) (i64.const 0))
  (global $words (mut i64) (i64.const 0))
  (global $bytes (mut i64) (i64.const 0))
  (global $in_line (mut i32) (i32.const 0))
  (global $in_word (mut i32) (i32.const 0))
  (global $quotes (mut i32) (i32.const 0))
  (global $escaped (mut i32) (i32.const 0))
  (global $digits (mut i32) (i32.const 0))
  (global $code (mut i32) (i32.const 0))
  (global $out (mut i64) (i64.const 0))

  ;; One character, or the part of one that a byte holds; only ASCII ones end lines and words.
  (func $unit (param $code i32) (param $length i64)
    (local $space i32)
    (global.set $bytes (i64.add (global.get $bytes) (local.get $length)))
    (global.set $in_line (i32.ne (local.get $code) (i32.const 10)))
    (global.set $lines (i64.add (global.get $lines) (i64.extend_i32_u (i32.eqz (global.get $in_line)))))
    (local.set $space
      (i32.or
        (i32.eq (local.get $code) (i32.const 32))
        (i32.lt_u (i32.sub (local.get $code) (i32.const 9)) (i32.const 5))))
    (global.set $words
      (i64.add
        (global.get $words)
        (i64.extend_i32_u (i32.eqz (i32.or (local.get $space) (global.get $in_word))))))
    (global.set $in_word (i32.eqz (local.get $space))))

  ;; The value stands between the third quote and the fourth.
  (func $byte (param $b i32)
    (if (i32.ne (global.get $quotes) (i32.const 3))
      (then
        (global.set $quotes (i32.add (global.get $quotes) (i32.eq (local.get $b) (i32.const 34))))
        (return)))
    (if (global.get $digits)
      (then
        (global.set $code
          (i32.add
            (i32.shl (global.get $code) (i32.const 4))
            (if (result i32) (i32.le_u (local.get $b) (i32.const 57))
              (then (i32.sub (local.get $b) (i32.const 48)))
              (else (i32.sub (i32.or (local.get $b) (i32.const 32)) (i32.const 87))))))
        (global.set $digits (i32.sub (global.get $digits) (i32.const 1)))
        (if (i32.eqz (global.get $digits))
          (then
            (call $unit
              (global.get $code)
              ;; Each half of a surrogate pair is two of its four bytes.
              (if (result i64) (i32.lt_u (global.get $code) (i32.const 0x80))
                (then (i64.const 1))
                (else
                  (select
                    (i64.const 2)
                    (i64.const 3)
                    (i32.or
                      (i32.lt_u (global.get $code) (i32.const 0x800))
                      (i32.eq (i32.shr_u (global.get $code) (i32.const 11)) (i32.const 0x1b)))))))))
        (return)))
    (if (global.get $escaped)
      (then
        (global.set $escaped (i32.const 0))
        (if (i32.eq (local.get $b) (i32.const 117)) ;; u
          (then
            (global.set $digits (i32.const 4))
            (global.set $code (i32.const 0))
            (return)))
        (call $unit
          (if (result i32) (i32.eq (local.get $b) (i32.const 110)) ;; n
            (then (i32.const 10))
            (else
              (select
                (i32.const 32)
                (i32.const 120)
                (i32.or
                  (i32.eq (local.get $b) (i32.const 102)) ;; f
                  (i32.or (i32.eq (local.get $b) (i32.const 114)) (i32.eq (local.get $b) (i32.const 116))))))) ;; r, t
          (i64.const 1))
        (return)))
    (if (i32.eq (local.get $b) (i32.const 92))
      (then (global.set $escaped (i32.const 1)) (return)))
    (if (i32.eq (local.get $b) (i32.const 34))
      (then (global.set $quotes (i32.const 4)) (return)))
    (call $unit (local.get $b) (i64.const 1)))

  (func $emit (param $b i32)
    (call $store_u8 (global.get $out) (local.get $b))
    (global.set $out (i64.add (global.get $out) (i64.const 1))))

  (func $literal (param $from i32) (param $to i32)
    (loop $next
      (call $emit (i32.load8_u (local.get $from)))
      (local.set $from (i32.add (local.get $from) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $from) (local.get $to)))))

  (func $number (param $n i64)
    (if (i64.ge_u (local.get $n) (i64.const 10))
      (then (call $number (i64.div_u (local.get $n) (i64.const 10)))))
    (call $emit (i32.add (i32.const 48) (i32.wrap_i64 (i64.rem_u (local.get $n) (i64.const 10))))))

  (func (export "count") (result i32)
    (local $at i64)
    (local $length i64)
    (local $eight i64)
    (local $left i32)
    (local $start i64)
    ;; An instance that is used again starts from nothing too.
    (global.set $lines (i64.const 0))
    (global.set $words (i64.const 0))
    (global.set $bytes (i64.const 0))
    (global.set $in_line (i32.const 0))
    (global.set $in_word (i32.const 0))
    (global.set $quotes (i32.const 0))
    (global.set $escaped (i32.const 0))
    (global.set $digits (i32.const 0))
    (local.set $length (call $input_length))
    ;; Eight bytes for each call of the kernel, as the development kits do.
    (block $done
      (loop $words
        (br_if $done (i64.gt_u (i64.add (local.get $at) (i64.const 8)) (local.get $length)))
        (local.set $eight (call $input_load_u64 (local.get $at)))
        (local.set $left (i32.const 8))
        (loop $bytes
          (call $byte (i32.and (i32.wrap_i64 (local.get $eight)) (i32.const 255)))
          (local.set $eight (i64.shr_u (local.get $eight) (i64.const 8)))
          (local.set $left (i32.sub (local.get $left) (i32.const 1)))
          (br_if $bytes (local.get $left)))
        (local.set $at (i64.add (local.get $at) (i64.const 8)))
        (br $words)))
    (block $end
      (loop $rest
        (br_if $end (i64.ge_u (local.get $at) (local.get $length)))
        (call $byte (call $input_load_u8 (local.get $at)))
        (local.set $at (i64.add (local.get $at) (i64.const 1)))
        (br $rest)))
    ;; 28 bytes of text, and three numbers of at most 20 digits.
    (local.set $start (call $alloc (i64.const 88)))
    (global.set $out (local.get $start))
    (call $literal (i32.const 0) (i32.const 9))
    (call $number (i64.add (global.get $lines) (i64.extend_i32_u (global.get $in_line))))
    (call $literal (i32.const 9) (i32.const 18))
    (call $number (global.get $words))
    (call $literal (i32.const 18) (i32.const 27))
    (call $number (global.get $bytes))
    (call $literal (i32.const 27) (i32.const 28))
    (call $output_set (local.get $start) (i64.sub (global.get $out) (local.get $start)))
    (i32.ne (global.get $quotes) (i32.const 4))))
