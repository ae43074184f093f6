import { expect, test } from 'vitest';
import { z } from 'zod';

import { checkFields } from '../../../../control/http/field-checks.ts';
import { numeric } from '../../../../control/http/numeric.ts';
import { ExecutePodCommands } from '../../../../control/resources/pods/exec/exec-operation.ts';
import { podSchemas } from '../../../../control/resources/pods/schema.ts';
import { snapshotSchemas } from '../../../../control/resources/snapshots/schema.ts';
import { volumeSchemas } from '../../../../control/resources/volumes/schema.ts';
import { LIMITS } from '../limits.ts';

test('digits in a string are a number; anything else stays what it is', () => {
  const Body = z.strictObject({ n: numeric(z.int().min(1).max(100)) });
  const read = (n: unknown) => checkFields(Body, { n });
  expect([read('7').values, read(7).values, read('007').values]).toEqual([{ n: 7 }, { n: 7 }, { n: 7 }]);
  expect(read('101').problems).toEqual(['n: must be at most 100']);
  for (const other of ['', ' 7', '7.0', '1e2', '0x7', '७', true, [7], '9'.repeat(16)]) {
    expect(read(other).problems, String(other)).toHaveLength(1);
  }
});

/** Paths of the numbers in a schema for which digits in a string are none. */
function strictNumbers(schema: z.core.$ZodType, path: string, takesDigits = false): readonly string[] {
  const { def } = schema._zod as unknown as { readonly def: z.core.$ZodTypes['_zod']['def'] };
  switch (def.type) {
    case 'number':
      return takesDigits ? [] : [path];
    case 'object':
      return Object.entries(def.shape).flatMap(([name, field]) => strictNumbers(field, `${path}.${name}`));
    case 'record':
      return strictNumbers(def.valueType, `${path}.*`);
    case 'array':
      return strictNumbers(def.element, `${path}.*`);
    case 'optional':
    case 'nullable':
    case 'default':
      return strictNumbers(def.innerType, path, takesDigits);
    case 'union':
      return def.options.flatMap((option) => strictNumbers(option, path, takesDigits));
    case 'pipe': {
      const before = (def.in._zod as unknown as { readonly def: z.core.$ZodTypes['_zod']['def'] }).def;
      const isNumeric = before.type === 'transform' && before.transform('7', { value: '7', issues: [] }) === 7;
      return strictNumbers(def.out, path, takesDigits || isNumeric);
    }
    default:
      return [];
  }
}

test('every number of every body may be digits in a string, as docs/tapis-compatibility.md says', () => {
  const pods = podSchemas(LIMITS);
  const volumes = volumeSchemas({ maxSizeMiB: 10 });
  const snapshots = snapshotSchemas({ maxSizeMiB: 10, podId: z.string() });
  const bodies = { ...pods, ...volumes, ...snapshots, ExecutePodCommands };
  expect(Object.entries(bodies).flatMap(([name, body]) => strictNumbers(body, name))).toEqual([]);
  expect(strictNumbers(z.object({ a: z.array(z.int().nullish()) }), 'X')).toEqual(['X.a.*']);
});
