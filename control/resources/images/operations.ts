import { z } from 'zod';

import { PodgateError } from '../../../core/errors.ts';
import { checkFields } from '../../http/field-checks.ts';
import { flagOf } from '../../http/flag.ts';
import { type Generation, preconditionOf } from '../../http/if-match.ts';
import { listParameters } from '../../http/list-query.ts';
import type { AuthenticatedCall, Operation } from '../../http/operation.ts';
import { listDescription, replyList } from '../../objects/list-operation.ts';
import { type ImageService, imageTag, type ListedImage } from './image-service.ts';
import { ImageAnswer, NewImage, NewImages, UpdateImage } from './schema.ts';

const SKIP_DUPLICATES = {
  name: 'skip_duplicates',
  description: 'true: images that are on the list already are left as they are; otherwise they are refused with 409.',
  schema: z.boolean(),
};

/** Of an image as it is returned. */
const ENTRY_BYTES = 8 * 1024;
const IMAGE_LIST = listDescription('image', ['creation_ts', 'added_by']);

/** Everything under /pods/images. */
export function imageOperations(images: ImageService): readonly Operation[] {
  const imageOf = ({ params }: AuthenticatedCall): string => params['image_id'] ?? '';
  async function* answers(call: AuthenticatedCall): AsyncGenerator<z.output<typeof ImageAnswer>> {
    for await (const image of images.list(call.caller)) yield imageAnswer(image);
  }
  const shared = { tag: 'Images', result: ImageAnswer } as const;
  return [
    {
      ...shared,
      access: 'token',
      operationId: 'get_images',
      methods: ['get'],
      path: '/pods/images',
      summary: 'The images that your tenant may run in a cluster.',
      result: z.array(ImageAnswer),
      query: listParameters(IMAGE_LIST),
      handle: (call) =>
        replyList(call, {
          description: IMAGE_LIST,
          message: 'Images retrieved successfully.',
          entryBytes: ENTRY_BYTES,
          // Those of the configuration come first, those of the site last.
          isInOrder: false,
          entries: () => answers(call),
        }),
    },
    {
      ...shared,
      access: 'token',
      operationId: 'add_image',
      methods: ['post'],
      path: '/pods/images',
      summary: 'Allows an image. For administrators.',
      body: NewImage,
      handle: async ({ caller, body }) => {
        const { values, problems } = checkFields(NewImage, body);
        const { image, tenants, description } = values;
        if (problems.length > 0 || image === undefined || tenants === undefined || description === undefined) {
          throw new PodgateError('api.invalid', { publicMessages: problems });
        }
        const [added] = await images.add(caller, [{ image, tenants, description }], { skipDuplicates: false });
        return { kind: 'json', message: 'Image added successfully.', result: imageAnswer(added ?? { image }) };
      },
    },
    {
      ...shared,
      access: 'token',
      operationId: 'add_images',
      methods: ['post'],
      path: '/pods/images/bulk',
      summary: 'Allows several images, all or none. For administrators.',
      query: [SKIP_DUPLICATES],
      body: NewImages,
      result: z.array(ImageAnswer),
      handle: async (call) => {
        // As the only field of a body, the list has its problems said as any field's.
        const { values, problems } = checkFields(z.object({ images: NewImages }), { images: call.body });
        if (problems.length > 0 || values.images === undefined) {
          throw new PodgateError('api.invalid', { publicMessages: problems });
        }
        const added = await images.add(call.caller, values.images, { skipDuplicates: flagOf(call, 'skip_duplicates') });
        return { kind: 'json', message: 'Images added successfully.', result: added.map(imageAnswer) };
      },
    },
    {
      ...shared,
      access: 'token',
      operationId: 'get_image',
      methods: ['get'],
      path: '/pods/images/{image_id}',
      summary: 'An image that your tenant may run.',
      handle: async (call) => {
        const listed = await images.get(call.caller, imageOf(call));
        return {
          kind: 'json',
          message: 'Image retrieved successfully.',
          result: imageAnswer(listed),
          ...tagOf(listed),
        };
      },
    },
    {
      ...shared,
      access: 'token',
      operationId: 'update_image',
      headers: ['If-Match'],
      methods: ['put'],
      path: '/pods/images/{image_id}',
      summary: 'Changes the tenants and the description of an image. For administrators.',
      body: UpdateImage,
      handle: async (call) => {
        const { values, problems } = checkFields(UpdateImage, call.body);
        if (problems.length > 0) throw new PodgateError('api.invalid', { publicMessages: problems });
        const precondition = preconditionOf(call.ifMatch);
        const { record, isChanged } = await images.update(call.caller, imageOf(call), values, precondition);
        const result = imageAnswer(record);
        if (isChanged) return { kind: 'json', message: 'Image updated successfully.', result, ...tagOf(record) };
        const message = 'Incoming data made no changes to image. Is incoming data equal to current data?';
        return { kind: 'json', message, result, outcome: 'error', ...tagOf(record) };
      },
    },
    {
      ...shared,
      access: 'token',
      operationId: 'delete_image',
      headers: ['If-Match'],
      methods: ['delete'],
      path: '/pods/images/{image_id}',
      summary: 'Takes an image off the list. For administrators. Pods that run it go on.',
      result: z.string(),
      handle: async (call) => {
        await images.delete(call.caller, imageOf(call), preconditionOf(call.ifMatch));
        return { kind: 'json', message: 'Image successfully deleted.', result: '' };
      },
    },
  ];
}

/** Those of the configuration cannot be changed. */
function tagOf(listed: ListedImage): { readonly generation?: Generation } {
  return 'uid' in listed ? { generation: imageTag(listed) } : {};
}

function imageAnswer(listed: ListedImage): z.output<typeof ImageAnswer> {
  if (!('uid' in listed)) {
    return {
      image: listed.image,
      tenants: ['*'],
      description: 'Of the configuration.',
      creation_ts: null,
      added_by: '',
    };
  }
  return {
    image: listed.image,
    tenants: [...listed.tenants],
    description: listed.description,
    creation_ts: new Date(listed.createdAtMs).toISOString(),
    added_by: listed.createdBy,
  };
}
