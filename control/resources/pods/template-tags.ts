import type { TemplateTagRecord } from '../../../core/template-record.ts';
import type { Caller } from '../../auth/authenticator.ts';

/** What pods need of the templates of users. See TagService. */
export interface TemplateTags {
  chain(caller: Caller, reference: string): Promise<readonly TemplateTagRecord[] | null>;
  read(tenant: string, reference: string): Promise<readonly TemplateTagRecord[] | null>;
}
